//! Who is down: a member whose metrics have lapsed and that neither the leader nor two others can
//! reach. It is a command in the log, so that the grace counts on across leaders.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use ipfs_cluster_protocol::{
    command::Command,
    id::PeerId,
    rpc::{RpcReply, RpcRequest},
    state::Member,
};

use crate::{
    cluster::{leader::Leader, rpc},
    monitor::Monitor,
    net::Net,
};

/// How long a probe may take.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// Members that probe besides the leader, if there are as many.
const WITNESSES: usize = 2;

/// Finds out, and says so in the log.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) leader: Leader,
    pub(super) monitor: Monitor,
    pub(super) net: Net,
}

impl Health {
    /// Compares what the state says of every member with what is seen of it.
    pub(super) async fn check(&self, members: &[Member]) {
        let me = self.net.local_peer();
        let lapsed = self.monitor.lapsed();
        let able =
            |m: &&Member| m.peer != *me && m.down_since.is_none() && !lapsed.contains(&m.peer);
        let witnesses: Vec<&PeerId> = members.iter().filter(able).map(|m| &m.peer).collect();
        for member in members {
            // Whoever leads hears itself: it is up, also if an earlier leader had lost sight of it.
            let silent = lapsed.contains(&member.peer);
            let command = match (member.down_since, silent) {
                (None, true) if !self.answers(&member.peer, &witnesses).await => {
                    tracing::warn!(peer = %member.peer, name = member.name, "peer is down");
                    Command::Down {
                        peer: member.peer.clone(),
                    }
                }
                (Some(_), false) => {
                    tracing::info!(peer = %member.peer, name = member.name, "peer is back");
                    Command::Up {
                        peer: member.peer.clone(),
                    }
                }
                _ => continue,
            };
            if self.leader.propose_own(command).await.is_err() {
                // Leadership is lost or shaky: whoever leads next looks again.
                return;
            }
        }
    }

    /// Whether this peer or one of the witnesses reaches it.
    async fn answers(&self, peer: &PeerId, witnesses: &[&PeerId]) -> bool {
        let mut probes = FuturesUnordered::new();
        probes.push(self.probe(None, peer));
        for witness in witnesses.iter().take(WITNESSES) {
            probes.push(self.probe(Some(witness), peer));
        }
        while let Some(answered) = probes.next().await {
            if answered {
                return true;
            }
        }
        false
    }

    async fn probe(&self, by: Option<&PeerId>, peer: &PeerId) -> bool {
        let question = match by {
            None => RpcRequest::Id,
            Some(_) => RpcRequest::Probe { peer: peer.clone() },
        };
        let asked = rpc::ask(&self.net, by.unwrap_or(peer), &question);
        let reply = tokio::time::timeout(PROBE_MAX, asked).await;
        matches!(reply, Ok(Ok(RpcReply::Id(_) | RpcReply::Yes(true))))
    }
}
