//! Becoming a member: forming a cluster, or being admitted to one.

use std::{io, time::Duration};

use ipfs_cluster_protocol::{
    id::{ClusterId, Epoch, Incarnation, PeerId},
    join::{Admission, Answer, Ask, Request},
};
use rand::Rng;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::info;

use super::{
    core::Members,
    handle::Consensus,
    join::{JoinError, ask_for},
};
use crate::storage::{Identity, Slot};

/// How long the first entries of a cluster may take: a start on a busy machine is not given up.
const FORM_MAX: Duration = Duration::from_secs(60);
/// How long a member may take to answer. It may be forming its cluster at this moment, and is asked
/// again.
const JOIN_ASK_MAX: Duration = Duration::from_secs(4);
/// Between two rounds over the members that could admit this peer.
const JOIN_PAUSE: Duration = Duration::from_millis(500);

impl Consensus {
    /// Forms a new cluster with this peer as its first member. Does nothing when it is a member
    /// already. Returns once the state names the cluster and this peer.
    pub async fn form(&self) -> Result<Identity, JoinError> {
        let _one_at_a_time = self.0.starting.lock().await;
        if let Some(identity) = self.identity() {
            return Ok(identity);
        }
        let kept = self.0.folder.identity(&self.0.env).await?;
        if let Some(kept) = kept {
            // The log is gone: others may still have the cluster, so a second one is not made.
            return Err(JoinError::Refused(format!(
                "{} belongs to cluster {} and its log is missing: join it with --bootstrap, or \
                 move the folder aside to form a new cluster",
                self.0.folder.path().display(),
                kept.cluster
            )));
        }
        let identity = Identity {
            cluster: ClusterId(rand::rng().random()),
            epoch: Epoch(1),
            incarnation: Incarnation(1),
        };
        self.start(identity).await?;
        let mut members = self.0.members.subscribe();
        let own = self.0.links.local();
        let formed = members.wait_for(|m| m.contains_key(&own));
        let formed = timeout(FORM_MAX, formed).await;
        formed
            .map_err(|_| JoinError::Start("the first entries were not written in time".into()))?
            .map_err(|_| JoinError::Start("the consensus stopped".into()))?;
        info!(cluster = %identity.cluster, "formed a new cluster");
        Ok(identity)
    }

    /// Joins the cluster of one of these peers. Asks them in turn until `deadline`. One that refuses
    /// may itself have been left behind: it has the last word only when no other may admit this peer.
    pub async fn join(&self, via: &[PeerId], deadline: Instant) -> Result<Identity, JoinError> {
        let _one_at_a_time = self.0.starting.lock().await;
        if self.identity().is_some() {
            return Err(JoinError::Member);
        }
        let local = self.0.links.local();
        let kept = self.0.folder.identity(&self.0.env).await?;
        let mut why = "no peer to ask".to_owned();
        let mut former = None;
        loop {
            let (mut refused, mut hope) = (None, false);
            for peer in via.iter().filter(|p| **p != local) {
                let mut answer = self.ask_admission(peer, kept, former, deadline).await;
                if let Ok(Answer::Known { life }) = answer {
                    // The cluster has known this peer before: in an earlier life, or by a question
                    // whose answer did not come.
                    former = life;
                    answer = self.ask_admission(peer, kept, former, deadline).await;
                }
                match answer {
                    Ok(Answer::Admitted(admission)) => return self.admitted(admission).await,
                    Ok(Answer::Refused { why }) => refused = Some(why),
                    Ok(Answer::Later { why: later }) => (why, hope) = (later, true),
                    Ok(Answer::Known { .. }) => {
                        (why, hope) = ("this peer is being admitted elsewhere".to_owned(), true);
                    }
                    Ok(Answer::Standing { .. }) => {
                        why = format!("{peer} answered another question");
                    }
                    Err(e) => why = format!("{peer}: {e}"),
                }
            }
            if let Some(why) = refused.filter(|_| !hope) {
                return Err(JoinError::Refused(why));
            }
            if Instant::now() + JOIN_PAUSE >= deadline {
                return Err(JoinError::NoAnswer(why));
            }
            sleep(JOIN_PAUSE).await;
        }
    }

    /// Asks one member to be admitted instead of a former life.
    async fn ask_admission(
        &self,
        peer: &PeerId,
        kept: Option<Identity>,
        former: Option<Incarnation>,
        deadline: Instant,
    ) -> io::Result<Answer> {
        let ask = Ask::Admit(Request {
            name: self.0.config.name.clone(),
            cluster: kept.map(|k| k.cluster),
            addresses: self.0.links.addresses(&self.0.links.local()),
            former,
        });
        let patience = deadline.min(Instant::now() + JOIN_ASK_MAX);
        let asked = timeout_at(patience, ask_for(&*self.0.links, peer, &ask));
        asked.await.unwrap_or_else(|_| {
            Err(io::Error::other(format!(
                "no answer within {JOIN_ASK_MAX:?}"
            )))
        })
    }

    async fn admitted(&self, admission: Admission) -> Result<Identity, JoinError> {
        let identity = Identity {
            cluster: admission.cluster,
            epoch: admission.epoch,
            incarnation: admission.incarnation,
        };
        let mut members = Members::new();
        for (peer, known) in admission.members {
            self.0.links.add_addresses(&peer, known.addresses);
            members.insert(peer, known.incarnation);
        }
        self.0.links.set_members(members.clone());
        self.0.members.send_replace(members);
        self.start(identity).await?;
        info!(cluster = %identity.cluster, incarnation = %identity.incarnation, "joined");
        Ok(identity)
    }

    /// Writes down who this peer is, then starts.
    async fn start(&self, identity: Identity) -> Result<(), JoinError> {
        let bytes = ipfs_cluster_protocol::codec::encode(&identity);
        let stored = self.0.log.set(Slot::Identity, bytes.into()).await;
        stored.map_err(|e| JoinError::Start(e.to_string()))?;
        self.0.folder.set_identity(&self.0.env, identity).await?;
        self.run(identity)
            .await
            .map_err(|e| JoinError::Start(e.to_string()))
    }
}
