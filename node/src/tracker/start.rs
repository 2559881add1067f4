//! What the tracker is made of, and its start.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use ipfs_cluster_protocol::id::{ClusterId, PeerId};
use tokio::sync::{mpsc, watch};

use super::{
    gone::GoneReport,
    handle::{Counts, Inbox, Load},
    ledger::Ledger,
    main_loop::Loop,
    sizes::Counted,
};
use crate::{
    env::Env,
    ipfs::SharedIpfs,
    status::StatusTables,
    storage::{Changes, StateStore},
    worker::Stop,
};

/// What the tracker is told of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct TrackerSettings {
    /// Pins worked on at once.
    pub(crate) concurrent: usize,
    /// Pins that wait at most; what is more is found again by a walk.
    pub(crate) queue_max: usize,
    /// How often everything is compared.
    pub(crate) recover_interval: Duration,
    /// Pins submitted longer ago than this give way to others.
    pub(crate) priority_max_age: Duration,
    /// Nothing is ever unpinned.
    pub(crate) unpin_disable: bool,
}

/// The parts the tracker is made of.
#[derive(Debug)]
pub(crate) struct TrackerParts {
    pub(crate) me: PeerId,
    pub(crate) cluster: ClusterId,
    pub(crate) ledger: PathBuf,
    pub(crate) state: StateStore,
    pub(crate) changes: Changes,
    pub(crate) ipfs: SharedIpfs,
    pub(crate) tables: StatusTables,
    pub(crate) gone: mpsc::Sender<GoneReport>,
    pub(crate) sizes: mpsc::Sender<Counted>,
    pub(crate) settings: TrackerSettings,
}

/// What every job needs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) me: PeerId,
    pub(super) state: StateStore,
    pub(super) ipfs: SharedIpfs,
    pub(super) tables: StatusTables,
    pub(super) ledger: Ledger,
    pub(super) gone: mpsc::Sender<GoneReport>,
    pub(super) sizes: mpsc::Sender<Counted>,
    pub(super) settings: TrackerSettings,
    pub(super) load: watch::Receiver<Load>,
    pub(super) counts: Arc<Counts>,
}

impl Parts {
    fn new(parts: TrackerParts, ledger: Ledger, inbox: &Inbox) -> Self {
        Self {
            me: parts.me,
            state: parts.state,
            ipfs: parts.ipfs,
            tables: parts.tables,
            ledger,
            gone: parts.gone,
            sizes: parts.sizes,
            settings: parts.settings,
            load: inbox.load.subscribe(),
            counts: inbox.counts.clone(),
        }
    }
}

/// Runs until the peer stops.
pub(crate) async fn run(parts: TrackerParts, inbox: Inbox, env: Env, stop: Stop) {
    match Ledger::open(&env, parts.ledger.clone(), parts.cluster).await {
        Ok(ledger) => {
            let changes = parts.changes.clone();
            let parts = Parts::new(parts, ledger, &inbox);
            Loop::new(parts, changes, inbox).run(stop).await;
        }
        Err(e) => no_ledger(&parts.ledger, &e),
    }
}

fn no_ledger(path: &std::path::Path, e: &io::Error) {
    tracing::error!(
        file = %path.display(), error = %e,
        "the tracker's ledger cannot be opened: mend the disk, or remove the file (then nothing \
         that is pinned now will ever be unpinned)"
    );
}
