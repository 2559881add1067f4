//! Keeps the peerstore file up to date with what the members say of themselves.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use libp2p::PeerId;
use tokio::{task::JoinSet, time::Instant};

use super::{peerstore, shared::Shared};
use crate::env::{Disk, Env, Lane};

/// Changes are gathered for this long.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct PeerstoreWriter {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    lane: Lane,
    /// What the file holds, as far as this program wrote it.
    written: String,
    /// Revision of the address book at the last look.
    seen: u64,
    next: Instant,
    writes: JoinSet<()>,
}

impl PeerstoreWriter {
    pub(super) fn new(path: PathBuf, env: &Env) -> Self {
        Self {
            path,
            disk: env.disk.clone(),
            lane: env.lanes.lane("peerstore"),
            written: String::new(),
            seen: 0,
            next: Instant::now() + PAUSE,
            writes: JoinSet::new(),
        }
    }

    /// The text to write; none while nobody is a member yet (the file is then the user's alone),
    /// or when nothing changed.
    fn fresh(&self, shared: &Shared, members: &BTreeSet<PeerId>) -> Option<String> {
        let text = peerstore::render(&shared.book.lock(), members.iter());
        (!text.is_empty() && text != self.written).then_some(text)
    }

    pub(super) fn write_if_due(&mut self, shared: &Shared, members: &BTreeSet<PeerId>) {
        while self.writes.try_join_next().is_some() {}
        let revision = shared.book.lock().revision();
        if Instant::now() < self.next || revision == self.seen || !self.writes.is_empty() {
            return;
        }
        self.next = Instant::now() + PAUSE;
        let Some(text) = self.fresh(shared, members) else {
            return;
        };
        self.seen = revision;
        self.written.clone_from(&text);
        let write = self.write(text);
        self.writes.spawn(write);
    }

    fn write(&self, text: String) -> impl Future<Output = ()> + Send + 'static {
        let (disk, path) = (self.disk.clone(), self.path.clone());
        let written = self
            .lane
            .run(move || (disk.write_atomic(&path, text.as_bytes()), path));
        async move {
            if let Ok((Err(e), path)) = written.await {
                tracing::warn!(path = %path.display(), "the peerstore could not be written: {e}");
            }
        }
    }

    /// The last write, at a clean end.
    pub(super) async fn finish(mut self, shared: &Shared, members: &BTreeSet<PeerId>) {
        while self.writes.join_next().await.is_some() {}
        if let Some(text) = self.fresh(shared, members) {
            self.write(text).await;
        }
    }
}
