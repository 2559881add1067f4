//! The fence around an abandoned past: a peer that has heard of a later epoch of its cluster writes
//! nothing any more, across its restarts too.

use std::sync::Arc;

use ipfs_cluster_protocol::id::Epoch;
use tokio::sync::watch;
use tracing::{error, warn};

use super::{core::Core, files::stored_number};
use crate::storage::{Identity, RaftLog, Slot};

/// This peer was left behind: its cluster goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this peer is in epoch {ours} of its cluster, which was recovered without it and goes on in \
     epoch {later}: nothing is written here any more. Stop this peer, move its state aside with \
     `ipfs-cluster-service state cleanup`, and start it with `daemon --bootstrap` and the address \
     of a peer of epoch {later}"
)]
pub struct LeftBehind {
    /// This peer's epoch.
    pub ours: Epoch,
    /// The one it has heard of.
    pub later: Epoch,
}

impl LeftBehind {
    pub(super) fn judge(identity: Option<Identity>, heard: Epoch) -> Option<Self> {
        let ours = identity?.epoch;
        (heard > ours).then_some(Self { ours, later: heard })
    }
}

impl Core {
    /// Whether this peer may still write; if not, why.
    pub(super) fn left_behind(&self) -> Option<LeftBehind> {
        LeftBehind::judge(*self.identity.borrow(), *self.heard.borrow())
    }
}

/// Takes up what the network layer hears, and writes it down; runs as long as the peer.
pub(super) async fn follow(core: Arc<Core>, log: RaftLog, mut news: watch::Receiver<Epoch>) {
    say(&core);
    loop {
        let epoch = *news.borrow_and_update();
        let higher = core.heard.send_if_modified(|heard| {
            let higher = epoch > *heard;
            *heard = epoch.max(*heard);
            higher
        });
        if higher && core.left_behind().is_some() {
            say(&core);
            // Without it the peer would write again after its next start, until it hears again.
            if let Err(e) = log.set(Slot::HeardEpoch, stored_number(epoch.0)).await {
                warn!(error = %e, "the later epoch could not be written down");
            }
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

fn say(core: &Core) {
    if let Some(why) = core.left_behind() {
        error!(ours = %why.ours, later = %why.later, "left behind: {why}");
    }
}
