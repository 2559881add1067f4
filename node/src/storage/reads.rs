//! Reads of the state. Those that come while one is being answered share the next look: one turn of
//! the lane, one lock, one read transaction for all of them, so that a hundred clients at once do
//! not cost a hundred switches of threads.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ipfs_cluster_protocol::state::tx::{StateRead, StoreError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    error::{ReadError, guard},
    state_store::Shared,
    view::{Base, View},
};
use crate::env::{Lane, LaneClosed};

/// A look that has taken this long is ended, so that applying is not held up: the reads after it
/// take another.
const LOOK_MAX: Duration = Duration::from_millis(2);

/// One read; it gets the state, or why there is none.
type Waiting = Box<dyn FnOnce(Result<&View<'_>, StoreError>) + Send>;

/// Answers the reads of one state, one after the other, in the order of the calls.
pub(super) struct Reads {
    lane: Lane,
    /// Each has a caller that waits for it, so there are as many as callers.
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

impl Reads {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            waiting: Arc::default(),
        }
    }

    /// The lane itself, for blocking work beside the reads.
    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// See [`super::StateStore::read`].
    pub(super) async fn read<T: Send + 'static>(
        &self,
        shared: &Arc<Shared>,
        read: impl FnOnce(&dyn StateRead) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let of = shared.clone();
        let waiting: Waiting = Box::new(move |view| {
            let out = view.and_then(|view| guard(&of.path, || read(view)));
            // Whoever asked may have gone.
            let _ = answer.send(out);
        });
        let first = {
            let mut all = self.waiting.lock();
            all.push(waiting);
            all.len() == 1
        };
        if first {
            let turn = Turn {
                shared: shared.clone(),
                waiting: self.waiting.clone(),
                taken: false,
            };
            self.lane.run(move || turn.answer_all()).await?;
        }
        Ok(answered.await.map_err(|_| LaneClosed)??)
    }
}

/// One turn of the lane. A turn that is dropped takes the reads that wait for it along: their
/// callers learn that the lane is closed.
struct Turn {
    shared: Arc<Shared>,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    taken: bool,
}

impl Turn {
    fn answer_all(mut self) {
        self.taken = true;
        let all = std::mem::take(&mut *self.waiting.lock());
        let mut all = all.into_iter().peekable();
        while all.peek().is_some() {
            let overlay = self.shared.overlay.read();
            let base = guard(&self.shared.path, || {
                Base::open(&overlay, &self.shared.path)
            });
            let base = match base {
                Ok(base) => base,
                Err(e) => {
                    drop(overlay);
                    all.for_each(|read| read(Err(e.clone())));
                    return;
                }
            };
            let view = View {
                overlay: &overlay,
                base: &base,
            };
            let since = Instant::now();
            for read in all.by_ref() {
                read(Ok(&view));
                if since.elapsed() >= LOOK_MAX {
                    break;
                }
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.taken {
            self.waiting.lock().clear();
        }
    }
}
