//! Admission: a joining peer asks any member, that member the leader, the leader the log.
//!
//! The incarnation is the index of an entry the leader commits for this admission alone, so no two
//! lives of any peer share one. The peer that forms the cluster has incarnation 1, which no
//! admission can have: index 0 is the first membership, 1 the first leader's blank entry.

use std::{collections::BTreeMap, io, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use ipfs_cluster_protocol::{
    command::Command,
    id::{Incarnation, PeerId},
    join::{Admission, Answer, Ask, MemberAddresses, Request},
    limits::{self, STAND_INS_MAX, VOTERS_MAX},
    mutation::{Mutation, planted},
    state::query,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{debug, info};

use super::{
    core::Core,
    doors::Present,
    links::{Channel, Incoming, Links, Pipe, allowance},
    standing,
};

/// How long an admission may take, the leader's log included.
const ADMIT_MAX: Duration = Duration::from_secs(20);

/// Why a peer could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster said no.
    #[error("the cluster refused this peer: {0}")]
    Refused(String),
    /// No member could be reached, or none knew a leader.
    #[error("no member of the cluster could admit this peer: {0}")]
    NoAnswer(String),
    /// This peer is a member already.
    #[error("this peer belongs to a cluster already")]
    Member,
    /// What was learned could not be written down.
    #[error(transparent)]
    Open(#[from] crate::storage::OpenError),
    /// The consensus could not be started.
    #[error("the consensus could not be started: {0}")]
    Start(String),
}

/// Answers those who want to join until the channel ends; also while this peer is no member.
pub(super) async fn serve(mut incoming: BoxStream<'static, Incoming>, present: Present) {
    let mut streams = JoinSet::new();
    while let Some(stream) = incoming.next().await {
        while streams.try_join_next().is_some() {}
        if streams.len() >= limits::JOIN_ADMISSIONS_MAX {
            debug!(peer = %stream.peer, "too many peers want to join at once");
            continue;
        }
        let core = present.borrow().clone();
        streams.spawn(async move {
            let peer = stream.peer.clone();
            match timeout(ADMIT_MAX, answer(core.as_deref(), stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => debug!(%peer, error = %e, "an admission ended"),
                Err(_) => debug!(%peer, "an admission took too long"),
            }
        });
    }
}

async fn answer(core: Option<&Core>, incoming: Incoming) -> io::Result<()> {
    let Incoming {
        peer,
        incarnation,
        bytes,
    } = incoming;
    let mut pipe = Pipe::new(bytes);
    let ask = pipe.recv_msg(Instant::now() + allowance(0)).await?;
    let answer = match core {
        Some(core) => answer_of(core, peer, incarnation, ask).await,
        None => later("it is no member of a cluster itself yet"),
    };
    pipe.send(&answer, Instant::now() + allowance(0)).await
}

async fn answer_of(
    core: &Core,
    peer: PeerId,
    incarnation: Option<Incarnation>,
    ask: Ask,
) -> Answer {
    let present = core.members.borrow().get(&peer).copied();
    let from_member = present.is_some() && present == incarnation;
    match ask {
        Ask::Admit(request) => at_any(core, peer, request).await,
        Ask::AdmitOther { peer, request } if from_member => at_leader(core, peer, request).await,
        Ask::AdmitOther { .. } => Answer::Refused {
            why: "only a member speaks for another peer".into(),
        },
        Ask::Standing => standing::answer(core, &peer, incarnation).await,
    }
}

/// At the member that was asked: the leader answers.
async fn at_any(core: &Core, peer: PeerId, request: Request) -> Answer {
    let leader = match core.leader() {
        Some(leader) if leader == core.own => return at_leader(core, peer, request).await,
        Some(leader) => leader,
        None => return later("nobody leads the cluster at present"),
    };
    let ask = Ask::AdmitOther { peer, request };
    match ask_for(&*core.links, leader.peer(), &ask).await {
        Ok(answer) => answer,
        Err(e) => later(&format!("the leader did not answer: {e}")),
    }
}

/// One question about admission, and its answer.
pub(super) async fn ask_for(links: &dyn Links, peer: &PeerId, ask: &Ask) -> io::Result<Answer> {
    let deadline = Instant::now() + ADMIT_MAX;
    let mut pipe = Pipe::open(links, peer, Channel::Join, deadline).await?;
    pipe.send(ask, deadline).await?;
    pipe.recv_msg(deadline).await
}

pub(super) fn later(why: &str) -> Answer {
    Answer::Later { why: why.into() }
}

async fn at_leader(core: &Core, peer: PeerId, request: Request) -> Answer {
    match admit(core, &peer, request).await {
        Ok(answer) => answer,
        Err(why) => Answer::Later { why },
    }
}

/// Refuses one more member than the cluster can have.
async fn no_room(core: &Core, peer: &PeerId) -> Result<Option<Answer>, String> {
    let members = core.state.read(|state| query::members(state)).await;
    let members = members.map_err(|e| e.to_string())?;
    let is_known = members.iter().any(|m| m.peer == *peer);
    let full = !is_known && members.len() >= VOTERS_MAX + STAND_INS_MAX;
    Ok(full.then(|| Answer::Refused {
        why: format!(
            "the cluster has {} peers, no more are supported",
            members.len()
        ),
    }))
}

/// Brings the admission into the log. The leader's duties then give the new member the log.
async fn admit(core: &Core, peer: &PeerId, request: Request) -> Result<Answer, String> {
    let Some(identity) = *core.identity.borrow() else {
        return Err("this peer is not a member itself".into());
    };
    if let Some(left_behind) = core.left_behind() {
        return Ok(Answer::Refused {
            why: left_behind.to_string(),
        });
    }
    if let Some(other) = request.cluster.filter(|c| *c != identity.cluster) {
        return Ok(Answer::Refused {
            why: format!(
                "its data folder belongs to cluster {other}, this is {}: move the folder aside \
                 to join as a new peer",
                identity.cluster
            ),
        });
    }
    let _one_at_a_time = core.change.lock().await;
    if let Some(no) = no_room(core, peer).await? {
        return Ok(no);
    }
    // Only a leader with a quorum gets past this line, and its state has all that was decided before.
    let mark = core.raft.write_blank().await.map_err(|e| e.to_string())?;
    let row = peer.clone();
    let known = core.state.read(move |state| query::member(state, &row));
    let known = known.await.map_err(|e| e.to_string())?;
    let life = known.as_ref().map(|m| m.incarnation);
    if life != request.former {
        return Ok(Answer::Known { life });
    }
    let incarnation = match &known {
        Some(former) if planted(Mutation::NodeIdReused) => former.incarnation,
        _ => Incarnation(mark.log_id.index),
    };
    let admission = Command::AddMember {
        peer: peer.clone(),
        incarnation,
        name: request.name,
        labels: known.map(|m| m.labels).unwrap_or_default(),
    };
    core.must_apply(admission).await?;
    let addresses = request
        .addresses
        .into_iter()
        .take(limits::JOIN_ADDRESSES_MAX);
    core.links.add_addresses(peer, addresses.collect());
    info!(%peer, %incarnation, "admitted to the cluster");
    core.nudge.notify_one();
    let members = core.state.read(|state| query::members(state)).await;
    let members = members.map_err(|e| e.to_string())?.into_iter().map(|m| {
        let mut addresses = core.links.addresses(&m.peer);
        addresses.truncate(limits::JOIN_ADDRESSES_MAX);
        let incarnation = m.incarnation;
        (
            m.peer,
            MemberAddresses {
                incarnation,
                addresses,
            },
        )
    });
    Ok(Answer::Admitted(Admission {
        cluster: identity.cluster,
        epoch: identity.epoch,
        incarnation,
        members: members.collect::<BTreeMap<_, _>>(),
    }))
}
