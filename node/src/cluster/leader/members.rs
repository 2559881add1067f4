//! Decisions on members.

use ipfs_cluster_protocol::{
    command::{Command, Session},
    id::{LogIndex, PeerId},
    rpc::{Done, Refusal},
    state::query,
};
use tokio::time::Instant;

use super::Leader;
use crate::consensus::ProposeError;

impl Leader {
    /// Takes a peer out: at once, or after its pins have found other homes. One that is no member
    /// is gone already.
    pub(super) async fn remove(
        &self,
        session: Session,
        peer: PeerId,
        drain: bool,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        let members = self.read(query::members).await?;
        let Some(member) = members.iter().find(|member| member.peer == peer) else {
            return Ok(Done {
                index: LogIndex(0),
                pin: None,
            });
        };
        if members.len() == 1 {
            return Err(Refusal::Invalid(
                "cannot remove ourselves from a 1-peer cluster".into(),
            ));
        }
        let alive = member.down_since.is_none() && !self.0.monitor.is_lapsed(&peer);
        if drain && alive {
            if member.draining {
                return Ok(Done {
                    index: LogIndex(0),
                    pin: None,
                });
            }
            return self
                .plain(session, Command::Drain { peer, on: true }, deadline)
                .await;
        }
        self.leave(peer, deadline).await
    }

    /// Takes the origin out, which is about to stop. It may stop as soon as this returns: nobody
    /// counts on its vote any more.
    pub(super) async fn let_leave(
        &self,
        session: Session,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        let peer = session.origin.clone();
        let done = self.remove(session, peer.clone(), false, deadline).await?;
        let let_go = self.0.consensus.let_go(&peer, deadline).await;
        let_go.map(|()| done).map_err(|e| match e {
            ProposeError::NotLeader { leader } => Refusal::NotLeader { leader },
            e => Refusal::Unknown(e.to_string()),
        })
    }

    /// Out of the consensus and out of the state. What it held is placed again by repair.
    pub(crate) async fn leave(&self, peer: PeerId, deadline: Instant) -> Result<Done, Refusal> {
        let left = self.0.consensus.remove_member(peer, deadline).await;
        left.map(|index| Done { index, pin: None })
            .map_err(|e| Refusal::Unavailable(e.to_string()))
    }
}
