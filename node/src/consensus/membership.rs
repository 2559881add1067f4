//! The leader's duties: form the cluster, let members in and out, keep the right number of voters.

use ipfs_cluster_protocol::limits;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ipfs_cluster_protocol::{
    command::{Command, FEATURE_LEVEL_MAX},
    state::{System, query},
};
use openraft::{
    ChangeMembers, EmptyNode, Instant as _, Precondition, async_runtime::WatchReceiver,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::{
    core::Core,
    plan::{self, Change, View},
    status::Role,
    types::{RaftId, RaftMetrics},
};
use crate::storage::ReadError;

/// Between two looks at the members.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A peer that answered within this time can vote at once.
const HEALTHY: Duration = Duration::from_secs(2);
/// A voter that has not answered for this long is replaced.
const DEAD: Duration = Duration::from_secs(30);
/// At most one vote is moved for the sake of spread in this time.
const SPREAD_EVERY: Duration = Duration::from_secs(600);
/// How long a change of the voters may take.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// Runs on every peer; does something while it leads.
pub(super) async fn lead(core: Arc<Core>) {
    let mut status = core.status.subscribe();
    loop {
        let leads = status.borrow_and_update().role == Role::Leader;
        if !leads {
            *core.led_since.lock() = None;
        }
        if status.wait_for(|s| s.role == Role::Leader).await.is_err() {
            return;
        }
        core.led_since.lock().get_or_insert_with(Instant::now);
        tokio::select! {
            biased;
            () = core.nudge.notified() => {}
            () = sleep(LOOK_EVERY) => {}
        }
        if core.status.borrow().role != Role::Leader || core.left_behind().is_some() {
            continue;
        }
        if let Err(why) = duties(&core).await {
            warn!(error = %why, "the members could not be looked after");
        }
    }
}

async fn duties(core: &Core) -> Result<(), String> {
    form(core).await?;
    let _one_at_a_time = core.change.lock().await;
    let Some(view) = look(core).await.map_err(|e| e.to_string())? else {
        return Ok(());
    };
    let Some(change) = plan::next(&view) else {
        return Ok(());
    };
    info!(?change, "changing the consensus' members");
    let made = timeout(CHANGE_MAX, make(core, &view, change)).await;
    made.unwrap_or_else(|_| Err("a change of the consensus' members took too long".into()))
}

/// Writes the first commands of a new cluster, if that has not been done yet.
async fn form(core: &Core) -> Result<(), String> {
    let read = core.state.read(|state| {
        let members = query::members(state)?.len();
        Ok((System::load(state)?.cluster, members))
    });
    let (cluster, members) = read.await.map_err(|e| e.to_string())?;
    let Some(identity) = *core.identity.borrow() else {
        return Ok(());
    };
    if cluster.is_none() {
        let (cluster, epoch) = (identity.cluster, identity.epoch);
        core.must_apply(Command::Init { cluster, epoch }).await?;
    }
    if members == 0 {
        let admit = Command::AddMember {
            peer: core.own.peer().clone(),
            incarnation: core.own.incarnation(),
            name: core.name.clone(),
            labels: BTreeMap::new(),
        };
        core.must_apply(admit).await?;
        // Nobody older is in it: all that this version knows may be said from the start.
        let level = FEATURE_LEVEL_MAX;
        core.must_apply(Command::FeatureLevel { level }).await?;
    }
    Ok(())
}

/// What the leader sees; nothing when it does not lead any more.
async fn look(core: &Core) -> Result<Option<View>, ReadError> {
    let members = core.state.read(|state| query::members(state)).await?;
    let metrics = core.raft.metrics().borrow_watched().clone();
    let (Some(heartbeat), Some(replication)) = (&metrics.heartbeat, &metrics.replication) else {
        return Ok(None);
    };
    let membership = metrics.membership_config.membership();
    let mut view = View {
        own: core.own.clone(),
        leaving: core.leaving.load(Ordering::Relaxed),
        may_spread: may_spread(core),
        joint: membership.get_joint_config().len() > 1,
        voters: membership.voter_ids().collect(),
        learners: membership.learner_ids().collect(),
        members: BTreeMap::new(),
        healthy: BTreeSet::from([core.own.clone()]),
        dead: BTreeSet::new(),
        caught_up: BTreeSet::from([core.own.clone()]),
    };
    for m in members {
        view.members.insert(m.peer, (m.incarnation, m.labels));
    }
    for (id, acked) in heartbeat {
        match acked.as_ref().map(|at| at.elapsed()) {
            Some(ago) if ago <= HEALTHY => {
                view.healthy.insert(id.clone());
            }
            Some(ago) if ago <= DEAD => {}
            // Since it leads; what never answered is dead once the leader has led for long.
            Some(_) => {
                view.dead.insert(id.clone());
            }
            None if leads_for_long(core) => {
                view.dead.insert(id.clone());
            }
            None => {}
        }
    }
    let last = metrics.last_log_index.unwrap_or(0);
    for (id, matched) in replication {
        if matched.is_some_and(|m| m.index + limits::MEMBERSHIP_LAG_MAX >= last) {
            view.caught_up.insert(id.clone());
        }
    }
    Ok(Some(view))
}

/// Whether this peer has led for longer than a dead voter is waited for.
fn leads_for_long(core: &Core) -> bool {
    core.led_since
        .lock()
        .is_some_and(|since| since.elapsed() > DEAD)
}

/// Whether a vote may be moved for the sake of spread. A new leader cannot know when its
/// predecessor did that, and waits as long.
fn may_spread(core: &Core) -> bool {
    let long_ago = |at: Instant| at.elapsed() >= SPREAD_EVERY;
    let leads_for_long = core.led_since.lock().is_some_and(long_ago);
    leads_for_long && core.spread_at.lock().is_none_or(long_ago)
}

async fn make(core: &Core, view: &View, change: Change) -> Result<(), String> {
    let one = |id: RaftId| BTreeSet::from([id]);
    let node = |id: RaftId| BTreeMap::from([(id, EmptyNode::new())]);
    if matches!(change, Change::Spread { .. }) {
        *core.spread_at.lock() = Some(Instant::now());
    }
    let (change, retain) = match change {
        Change::HandOver(to) => {
            let asked = core.raft.trigger().transfer_leader(to).await;
            return asked.map_err(|e| e.to_string());
        }
        // A change of nothing completes the one that was begun.
        Change::Finish => (ChangeMembers::AddVoterIds(BTreeSet::new()), false),
        Change::Admit(id) => (ChangeMembers::AddNodes(node(id)), true),
        Change::Drop(id) if view.learners.contains(&id) => {
            (ChangeMembers::RemoveNodes(one(id)), true)
        }
        Change::Drop(id) => (ChangeMembers::RemoveVoters(one(id)), false),
        Change::Renew { out, with } => {
            let leaves = if view.learners.contains(&out) {
                ChangeMembers::RemoveNodes(one(out))
            } else {
                ChangeMembers::RemoveVoters(one(out))
            };
            let batch = vec![leaves, ChangeMembers::AddNodes(node(with))];
            (ChangeMembers::Batch(batch), false)
        }
        Change::Replace { out, with } | Change::Spread { out, with } => {
            let stays = view.members.contains_key(out.peer());
            let batch = vec![
                ChangeMembers::AddVoterIds(one(with)),
                ChangeMembers::RemoveVoters(one(out)),
            ];
            (ChangeMembers::Batch(batch), stays)
        }
        Change::Promote(ids) => (ChangeMembers::AddVoterIds(ids), true),
        Change::Demote(ids) => (ChangeMembers::RemoveVoters(ids), true),
    };
    let last = last_membership(&core.raft.metrics().borrow_watched());
    let seen = [Precondition::LastMembershipLogId {
        last_membership_log_id: last,
    }];
    let changed = core.raft.change_membership_if(change, retain, seen).await;
    changed.map(|_| ()).map_err(|e| e.to_string())
}

fn last_membership(metrics: &RaftMetrics) -> Option<super::types::LogId> {
    *metrics.membership_config.log_id()
}
