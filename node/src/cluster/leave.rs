//! A peer takes itself out of the cluster, before it stops.

use std::time::Duration;

use ipfs_cluster_protocol::{rpc::Op, state::PinSet, state::query};
use tokio::time::Instant;

use super::{Cluster, error::ClusterError};

/// How long leaving may take in all.
const LEAVE_MAX: Duration = Duration::from_secs(10);
/// How much of that another peer may take to get the lead.
const STEP_BACK_MAX: Duration = Duration::from_secs(4);

/// Why a peer that was to leave its cluster is still in it, as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaveError {
    /// There would be no cluster left.
    #[error("it is the last peer of its cluster: it stays a member, and its state stays")]
    Last,
    /// No quorum took note of it.
    #[error(
        "{reason}: it may still be a member, and its state stays; `ipfs-cluster-ctl peers rm {peer}` \
         at another peer takes it out"
    )]
    NotDone {
        /// Of this peer.
        peer: ipfs_cluster_protocol::id::PeerId,
        /// What went wrong.
        reason: String,
    },
}

impl Cluster {
    /// Takes this peer out of its cluster, with whatever it holds: its pins are placed elsewhere
    /// by repair, not waited for. Returns once the others can do without it, in bounded time.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        let inner = &self.0;
        let deadline = Instant::now() + LEAVE_MAX;
        let not_done = |reason: String| LeaveError::NotDone {
            peer: inner.me.clone(),
            reason,
        };
        let members = self.members().await;
        let members = members.map_err(|e| not_done(e.to_string()))?;
        // One that has just joined may not know of itself yet: the leader does.
        let own = members.iter().find(|m| m.peer == inner.me);
        if own.is_some() && members.len() == 1 {
            return Err(LeaveError::Last);
        }
        let pins = match own.map(|m| m.no) {
            Some(no) => {
                let held = self.read(move |s| query::set_len(s, PinSet::Allocated(no)));
                held.await.unwrap_or(0)
            }
            None => 0,
        };
        tracing::info!(pins, "leaving the cluster; the others take over its pins");
        // A leader that takes itself out could not see it through.
        let patience = deadline.min(Instant::now() + STEP_BACK_MAX);
        if !inner.consensus.step_back(patience).await {
            tracing::warn!("no other peer has taken the lead");
        }
        match self.submit_until(Op::Leave, deadline).await {
            Ok(_) => Ok(()),
            // Meanwhile the others may have left.
            Err(ClusterError::Invalid(_)) => Err(LeaveError::Last),
            Err(e) if self.is_out() => {
                tracing::info!(reason = %e, "out of the cluster; nobody said so");
                Ok(())
            }
            Err(e) => Err(not_done(e.to_string())),
        }
    }

    /// Whether this peer's own state says that it is no member any more.
    fn is_out(&self) -> bool {
        let members = self.0.consensus.members();
        !members.borrow().contains_key(&self.0.me)
    }
}
