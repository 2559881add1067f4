//! The end of a peer's part in the consensus, planned.

use std::{sync::atomic::Ordering, time::Duration};

use ipfs_cluster_protocol::id::PeerId;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::{handle::Consensus, proposer::ProposeError, status::Role};

/// How long a planned stop waits for another leader. An election among peers that answer takes a
/// fraction of it; when all stop at once, each waits for one that is about to stop as well.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

impl Consensus {
    /// Lets another voter lead, if this peer does. Returns once it does not lead any more, or when
    /// nobody could take over in time.
    pub async fn transfer_leadership(&self) {
        let Some(core) = self.core() else { return };
        let mut status = self.status();
        if status.borrow().role != Role::Leader {
            return;
        }
        let Some(to) = core.successor() else { return };
        if let Err(e) = core.raft.trigger().transfer_leader(to.clone()).await {
            warn!(error = %e, "the lead could not be handed over");
            return;
        }
        let handed_over = status.wait_for(|s| s.role != Role::Leader && s.leader.is_some());
        if timeout(HAND_OVER_MAX, handed_over).await.is_err() {
            warn!(%to, "nobody took over the lead in time: it stops as well, or is cut off");
        }
    }

    /// Before this peer leaves the cluster: from now on it gives up the lead whenever it has it,
    /// and its vote to a stand-in if nobody else has one. Returns once another peer leads, or
    /// false when that is not so in time.
    pub async fn step_back(&self, deadline: Instant) -> bool {
        let Some(core) = self.core() else {
            return false;
        };
        core.leaving.store(true, Ordering::Relaxed);
        core.nudge.notify_one();
        let local = self.0.links.local();
        let mut status = self.status();
        let another = status.wait_for(|s| s.leader.as_ref().is_some_and(|l| *l != local));
        matches!(timeout_at(deadline, another).await, Ok(Ok(_)))
    }

    /// Waits until the consensus can do without a former member, as this peer, which leads, sees
    /// it: from then on nobody counts on its vote.
    pub(crate) async fn let_go(
        &self,
        peer: &PeerId,
        deadline: Instant,
    ) -> Result<(), ProposeError> {
        let core = self.core().ok_or(ProposeError::Stopped)?;
        core.nudge.notify_one();
        let mut status = self.status();
        let gone = status.wait_for(|s| {
            s.role != Role::Leader || !(s.voters.contains(peer) || s.stand_ins.contains(peer))
        });
        match timeout_at(deadline, gone).await {
            Ok(Ok(s)) if s.role == Role::Leader => {}
            Ok(Ok(s)) => {
                let leader = s.leader.clone();
                return Err(ProposeError::NotLeader { leader });
            }
            Ok(Err(_)) => return Err(ProposeError::Stopped),
            Err(_) => return Err(ProposeError::Unknown),
        }
        // What is seen above may not be committed yet: whoever makes a change holds this until
        // it is.
        let settled = timeout_at(deadline, core.change.lock()).await;
        settled.map(drop).map_err(|_| ProposeError::Unknown)
    }

    /// Ends the run there is. False when there is none.
    pub(super) async fn stop_run(&self) -> bool {
        let core = self.0.core.send_replace(None);
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock());
        tasks.shutdown().await;
        let Some(core) = core else { return false };
        if core.raft.shutdown().await.is_err() {
            warn!("openraft did not stop in order");
        }
        true
    }

    /// A planned stop: hands over the lead, stops, syncs and closes both files.
    pub async fn shutdown(&self) {
        self.transfer_leadership().await;
        let _one_at_a_time = self.0.starting.lock().await;
        self.0.doors.lock().abort_all();
        self.stop_run().await;
        self.0.status.send_modify(|s| s.role = Role::Stopped);
        if let Err(e) = self.0.state.close().await {
            warn!(error = %e, "the state was not closed in order");
        }
        if let Err(e) = self.0.log.close().await {
            warn!(error = %e, "the log was not closed in order");
        }
    }
}
