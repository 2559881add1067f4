//! What the consensus shows of itself.

use std::{collections::BTreeSet, mem::take};

use ipfs_cluster_protocol::{
    id::{LogIndex, PeerId},
    mutation::{Mutation, planted},
};
use openraft::{ServerState, async_runtime::WatchReceiver, error::Fatal};
use tokio::sync::watch;

use super::{
    config::Profile,
    types::{Raft, RaftMetrics},
};

/// What this peer is in the consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// It has not joined, or it has stopped.
    #[default]
    Stopped,
    /// It decides.
    Leader,
    /// It votes.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It has the log and no vote.
    StandIn,
}

/// The consensus as this peer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// What this peer is.
    pub role: Role,
    /// Who leads, if that is known.
    pub leader: Option<PeerId>,
    /// The timing.
    pub profile: Profile,
    /// The term.
    pub term: u64,
    /// The last entry in this peer's log.
    pub last_index: LogIndex,
    /// The last entry known to be in the log of a quorum.
    pub committed: LogIndex,
    /// The last entry applied here.
    pub applied: LogIndex,
    /// Who votes.
    pub voters: BTreeSet<PeerId>,
    /// Who has the log and may become a voter.
    pub stand_ins: BTreeSet<PeerId>,
    /// The state may have gone back in the last stop and has not caught up yet.
    pub recovering: bool,
}

impl Default for RaftStatus {
    fn default() -> Self {
        Self {
            role: Role::Stopped,
            leader: None,
            profile: Profile::Local,
            term: 0,
            last_index: LogIndex(0),
            committed: LogIndex(0),
            applied: LogIndex(0),
            voters: BTreeSet::new(),
            stand_ins: BTreeSet::new(),
            recovering: true,
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::StandIn,
        _ => Role::Stopped,
    }
}

/// Voters and stand-ins.
type Members = (BTreeSet<PeerId>, BTreeSet<PeerId>);

fn members(m: &RaftMetrics) -> Members {
    let membership = m.membership_config.membership();
    let voters = membership.voter_ids().map(|id| id.peer().clone());
    let stand_ins = membership.learner_ids().map(|id| id.peer().clone());
    (voters.collect(), stand_ins.collect())
}

/// What changes with every entry. Without members, who change rarely.
fn of(m: &RaftMetrics) -> RaftStatus {
    let running = m.running_state.as_ref();
    let index = |id: Option<u64>| LogIndex(id.unwrap_or(0));
    RaftStatus {
        role: running.map_or(Role::Stopped, |()| role(m.state)),
        leader: m.current_leader.as_ref().map(|id| id.peer().clone()),
        term: m.current_term,
        last_index: index(m.last_log_index),
        committed: index(m.cluster_committed.map(|id| id.index)),
        applied: index(m.last_applied.map(|id| id.index)),
        ..RaftStatus::default()
    }
}

impl RaftStatus {
    /// Takes over what openraft tells; whether that is news. What others write stays.
    fn follow(&mut self, told: Self, members: Option<Members>) -> bool {
        let old = (take(&mut self.voters), take(&mut self.stand_ins));
        let mut now = Self {
            recovering: self.recovering,
            profile: self.profile,
            ..told
        };
        let changed = *self != now || members.as_ref().is_some_and(|new| *new != old);
        (now.voters, now.stand_ins) = members.unwrap_or(old);
        *self = now;
        changed
    }
}

/// Keeps `status` up to date until openraft stops; when nobody has stopped it, `broken` says why it
/// has.
pub(super) async fn follow(
    raft: Raft,
    status: watch::Sender<RaftStatus>,
    broken: watch::Sender<Option<String>>,
) {
    let mut metrics = raft.metrics();
    let mut known = None;
    loop {
        let (now, moved, running) = {
            let m = metrics.borrow_watched();
            let entry = Some(*m.membership_config.log_id());
            let moved = (known != entry).then(|| members(&m));
            known = entry;
            (of(&m), moved, m.running_state.clone())
        };
        // Decided under the lock: what others write must never be overwritten.
        status.send_if_modified(|status| status.follow(now, moved));
        if running.is_err() || metrics.changed().await.is_err() {
            status.send_modify(|s| s.role = Role::Stopped);
            if let Err(e @ (Fatal::StorageError(_) | Fatal::Panicked)) = running {
                broken.send_replace(Some(format!(
                    "the consensus has stopped: {e}. Look after the disk, then start again"
                )));
            }
            return;
        }
    }
}

/// Clears `recovering` once the state is at least what it was before the last stop.
pub(super) async fn recover(raft: Raft, status: watch::Sender<RaftStatus>) {
    let recovered =
        planted(Mutation::StateBeforeRecovery) || raft.wait_for_recovery(None).await.is_ok();
    if recovered {
        status.send_modify(|s| s.recovering = false);
    }
}
