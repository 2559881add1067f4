//! Am I still a member? A peer that was removed while it could not be reached (before it got the log
//! after its admission, or while it was down) hears nothing of it from those that let go of it: once
//! it knows no leader, or as long as it has no vote, it asks.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ipfs_cluster_protocol::{
    id::{Incarnation, PeerId},
    join::{Answer, Ask},
    state::query,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::{
    core::Core,
    join::{ask_for, later},
    status::Role,
};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long one member may take.
const ASK_MAX: Duration = Duration::from_secs(4);
/// How long a read of the latest state may take.
const READ_MAX: Duration = Duration::from_secs(3);

/// Runs as long as the peer. Its members are without it once it knows that it was removed.
pub(super) async fn watch(core: Arc<Core>) {
    let own = core.own.peer();
    let mut asked = BTreeSet::new();
    loop {
        sleep(ASK_EVERY).await;
        if !in_doubt(&core) {
            continue;
        }
        let others: Vec<PeerId> = core.members.borrow().keys().cloned().collect();
        let mut others = others.into_iter().filter(|p| p != own);
        let Some(peer) = others.clone().find(|p| !asked.contains(p)).or_else(|| {
            asked.clear();
            others.next()
        }) else {
            continue;
        };
        asked.insert(peer.clone());
        let question = ask_for(&*core.links, &peer, &Ask::Standing);
        match timeout(ASK_MAX, question).await {
            Ok(Ok(Answer::Standing { member: false })) => {
                warn!(%peer, "a member says that this peer was removed");
                core.members.send_modify(|members| {
                    members.remove(own);
                });
                return;
            }
            Ok(Ok(answer)) => debug!(%peer, ?answer, "asked whether this peer is a member"),
            Ok(Err(e)) => debug!(%peer, error = %e, "asked whether this peer is a member"),
            Err(_) => debug!(%peer, "no answer whether this peer is a member"),
        }
    }
}

fn in_doubt(core: &Core) -> bool {
    let status = core.status.borrow();
    let alone = status.leader.is_none() && status.role != Role::Leader;
    (alone || status.role == Role::StandIn) && core.left_behind().is_none()
}

/// The answer of a member, from the state as it is now.
pub(super) async fn answer(core: &Core, peer: &PeerId, life: Option<Incarnation>) -> Answer {
    if core.left_behind().is_some() {
        return later("this peer was left behind itself");
    }
    if life.is_none() {
        return later("the question does not say in which life it is asked");
    }
    let deadline = Instant::now() + READ_MAX;
    let read = async {
        let index = core.read_index(deadline).await.map_err(|e| e.to_string())?;
        let applied = core.wait_applied(index, deadline).await;
        applied.map_err(|e| e.to_string())?;
        let peer = peer.clone();
        let member = core.state.read(move |state| query::member(state, &peer));
        member.await.map_err(|e| e.to_string())
    };
    match read.await {
        Ok(known) => Answer::Standing {
            member: known.map(|m| m.incarnation) == life,
        },
        Err(why) => later(&why),
    }
}
