//! A running member of the consensus: openraft and what all tasks around it share.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use ipfs_cluster_protocol::{
    command::{Command, Envelope, Outcome},
    id::{Epoch, Incarnation, LogIndex, PeerId},
    mutation::{Mutation, planted},
};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, sleep, timeout_at},
};

use super::{
    links::Links,
    proposer::{Committed, ProposeError, Proposer},
    server,
    session::Sessions,
    status::RaftStatus,
    transport::Factory,
    types::{Raft, RaftId},
    wire::{Ask, Reply},
};
use crate::storage::{Identity, StateStore};

/// Between two tries while nobody leads yet.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a command of the consensus' own may take.
const OWN_MAX: Duration = Duration::from_secs(10);

/// Members and their present lives.
pub(super) type Members = BTreeMap<PeerId, Incarnation>;

/// Shared by the tasks of one run.
pub(super) struct Core {
    pub(super) raft: Raft,
    pub(super) own: RaftId,
    pub(super) identity: watch::Sender<Option<Identity>>,
    pub(super) members: watch::Sender<Members>,
    pub(super) factory: Factory,
    pub(super) proposer: Proposer,
    pub(super) state: StateStore,
    pub(super) sessions: Sessions,
    pub(super) links: Arc<dyn Links>,
    pub(super) status: watch::Sender<RaftStatus>,
    /// Shown to users.
    pub(super) name: String,
    /// Held while the members are changed: one change at a time.
    pub(super) change: Mutex<()>,
    /// Wakes the leader's duties before their time.
    pub(super) nudge: Notify,
    /// This peer is about to leave the cluster: it must not lead.
    pub(super) leaving: AtomicBool,
    /// When this peer last moved a vote for the sake of spread.
    pub(super) spread_at: parking_lot::Mutex<Option<Instant>>,
    /// Since when this peer has led without a break, if it leads.
    pub(super) led_since: parking_lot::Mutex<Option<Instant>>,
    /// The highest epoch of the cluster that was heard of.
    pub(super) heard: watch::Sender<Epoch>,
}

/// Why a read cannot be linearizable now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// No leader confirmed its lead in time.
    #[error("no leader confirmed in time what is committed")]
    NoQuorum,
    /// This peer has not applied the index in time.
    #[error("this peer has not applied index {0} in time")]
    Behind(LogIndex),
    /// The peer does not run.
    #[error("this peer takes no part in the consensus now")]
    Stopped,
}

impl Core {
    /// Proposes until `deadline`; while an election is under way the command waits.
    pub(super) async fn propose(
        &self,
        envelope: Envelope,
        deadline: Instant,
    ) -> Result<Committed, ProposeError> {
        loop {
            if let Some(left_behind) = self.left_behind() {
                return Err(left_behind.into());
            }
            let answer = self.proposer.propose(envelope.clone(), deadline).await;
            match answer {
                // Nothing was submitted: once it is known who leads, it is told or tried again.
                Err(ProposeError::NotLeader { leader: None })
                    if Instant::now() + RETRY_PAUSE < deadline => {}
                answer => return answer,
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// A command of the consensus' own.
    pub(super) async fn propose_own(&self, command: Command) -> Result<Committed, ProposeError> {
        let ticket = self.sessions.begin();
        let envelope = Envelope {
            session: ticket.session(),
            command,
        };
        self.propose(envelope, Instant::now() + OWN_MAX).await
    }

    /// Like [`Self::propose_own`], with a refusal as text.
    pub(super) async fn must_apply(&self, command: Command) -> Result<LogIndex, String> {
        let committed = self.propose_own(command).await.map_err(|e| e.to_string())?;
        match committed.outcome {
            Outcome::Applied { .. } | Outcome::AlreadyAt { .. } => Ok(committed.index),
            Outcome::Rejected(why) => Err(why.to_string()),
            Outcome::Conflict { .. } => Err("the state changed meanwhile".into()),
        }
    }

    /// The leader as openraft knows it.
    pub(super) fn leader(&self) -> Option<RaftId> {
        use openraft::async_runtime::WatchReceiver;
        self.raft.metrics().borrow_watched().current_leader.clone()
    }

    /// A live voter that could lead at once.
    pub(super) fn successor(&self) -> Option<RaftId> {
        use openraft::{Instant as _, async_runtime::WatchReceiver};
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (replication, heartbeat) = (metrics.replication?, metrics.heartbeat?);
        let answered = |id: &RaftId| {
            let acked = heartbeat.get(id).and_then(Option::as_ref);
            acked.is_some_and(|at| at.elapsed() < Duration::from_secs(2))
        };
        let voters = metrics.membership_config.membership().voter_ids();
        voters
            .filter(|id| *id != self.own && answered(id))
            .max_by_key(|id| replication.get(id).copied().flatten())
    }

    /// What must have been applied to read all that was committed before this call.
    pub(super) async fn read_index(&self, deadline: Instant) -> Result<LogIndex, BarrierError> {
        loop {
            let asked = timeout_at(deadline, self.ask_read_index(deadline)).await;
            match asked {
                Ok(Some(index)) => return Ok(LogIndex(index)),
                Ok(None) if Instant::now() + RETRY_PAUSE < deadline => {}
                Ok(None) | Err(_) => return Err(BarrierError::NoQuorum),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn ask_read_index(&self, deadline: Instant) -> Option<u64> {
        if planted(Mutation::StaleReadAsLinearizable) {
            return Some(self.state.applied().borrow().index.0);
        }
        let leader = self.leader()?;
        if leader == self.own {
            return server::read_index(&self.raft).await;
        }
        // Short tries: a leader that was just lost must not take up the whole time.
        let deadline = deadline.min(Instant::now() + Duration::from_secs(2));
        let asked = self.factory.ask_once(&leader, Ask::ReadIndex, deadline);
        match asked.await {
            Ok(Reply::ReadIndex(index)) => index,
            _ => None,
        }
    }

    /// Waits until this peer has applied `index`.
    pub(super) async fn wait_applied(
        &self,
        index: LogIndex,
        deadline: Instant,
    ) -> Result<(), BarrierError> {
        let mut applied = self.state.applied();
        let reached = applied.wait_for(|a| a.index >= index);
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(BarrierError::Stopped),
            Err(_) => Err(BarrierError::Behind(index)),
        }
    }
}
