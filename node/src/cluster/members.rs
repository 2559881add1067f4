//! Use cases on peers: who is there, what they say of themselves, how one leaves.

use std::collections::BTreeSet;

use futures::{StreamExt, stream, stream::BoxStream};
use ipfs_cluster_protocol::{
    api::{
        graph::ConnectGraph,
        id::{API_VERSION, Id, IpfsId, RPC_PROTOCOL_VERSION},
    },
    id::{Cid, PeerId, Rev, Seq},
    rpc::{Op, RpcReply, RpcRequest},
    state::{Member, PinSet, query},
};

use super::{Cluster, error::ClusterError, rpc};
use crate::ipfs::holds::holds;

/// Peers asked at once.
const ASKED_AT_ONCE: usize = 16;

impl Cluster {
    /// This peer. Never fails because its IPFS node is down.
    pub async fn id(&self) -> Id {
        let inner = &self.0;
        let members = self.members().await.unwrap_or_default();
        let draining = members.iter().find(|m| m.peer == inner.me && m.draining);
        let draining = match draining {
            Some(member) => self.pins_held_by(member.clone()).await.ok(),
            None => None,
        };
        let peers: Vec<PeerId> = members.into_iter().map(|m| m.peer).collect();
        let others = peers.iter().filter(|p| **p != inner.me);
        let addresses = others
            .flat_map(|p| inner.net.addresses_of(p))
            .map(|a| a.to_string());
        let addresses: Vec<String> = addresses.collect();
        let ipfs = match inner.ipfs.id().await {
            Ok(id) => IpfsId {
                id: Some(id.id),
                addresses: Some(id.addresses),
                error: String::new(),
            },
            Err(e) => IpfsId {
                id: None,
                addresses: None,
                error: e.to_string(),
            },
        };
        let own = inner.net.listen_addresses();
        let left_behind = inner.consensus.left_behind();
        Id {
            id: inner.me.clone(),
            addresses: Some(own.iter().map(ToString::to_string).collect()),
            cluster_peers: Some(sorted_by_text(peers)),
            cluster_peers_addresses: Some(addresses),
            version: API_VERSION.into(),
            commit: String::new(),
            rpc_protocol_version: RPC_PROTOCOL_VERSION.into(),
            error: left_behind.map_or_else(String::new, |why| why.to_string()),
            ipfs,
            peername: inner.settings.peername.clone(),
            draining,
        }
    }

    /// Every member; those that do not answer come last, with the reason.
    pub fn peers(&self) -> BoxStream<'static, Id> {
        let cluster = self.clone();
        let members = async move {
            let members = cluster.members().await.unwrap_or_default();
            (cluster, members)
        };
        stream::once(members)
            .flat_map(|(cluster, members)| {
                stream::iter(members).map(move |member| {
                    let cluster = cluster.clone();
                    async move { cluster.id_of(member).await }
                })
            })
            .buffer_unordered(ASKED_AT_ONCE)
            .boxed()
    }

    async fn id_of(&self, member: Member) -> Id {
        if member.peer == self.0.me {
            return self.id().await;
        }
        let mut id = rpc::ask_id(&self.0.net, &member.peer).await;
        if !id.error.is_empty() && member.draining {
            id.draining = self.pins_held_by(member).await.ok();
        }
        id
    }

    /// The members, by number.
    pub async fn members(&self) -> Result<Vec<Member>, ClusterError> {
        self.read(|state| query::members(state)).await
    }

    async fn pins_held_by(&self, member: Member) -> Result<u64, ClusterError> {
        self.read(move |state| query::set_len(state, PinSet::Allocated(member.no)))
            .await
    }

    /// A peer joins by itself (`daemon --bootstrap`); one that is a member is told of.
    pub async fn peer_add(&self, peer: PeerId) -> Result<Id, ClusterError> {
        let members = self.members().await?;
        match members.into_iter().find(|member| member.peer == peer) {
            Some(member) => Ok(self.id_of(member).await),
            None => Err(ClusterError::Invalid(format!(
                "{peer} is not a member: start it with `daemon --bootstrap` and an address of \
                 this cluster"
            ))),
        }
    }

    /// Takes a peer out. With `drain`, a live one first hands over its pins and this returns as
    /// soon as that has begun. A peer that is no member is gone already.
    pub async fn peer_remove(&self, peer: PeerId, drain: bool) -> Result<(), ClusterError> {
        self.submit(Op::Remove { peer, drain }).await.map(drop)
    }

    /// Whether this peer's IPFS node has this pin, as of this rev.
    pub(super) async fn holds(&self, seq: Seq, rev: Rev) -> Result<bool, ClusterError> {
        let held = holds(self.0.consensus.state(), &self.0.ipfs, seq, rev).await;
        held.map_err(ClusterError::Unavailable)
    }

    /// Whether this peer can reach that one just now.
    pub(super) async fn reaches(&self, peer: &PeerId) -> bool {
        let asked = rpc::ask(&self.0.net, peer, &RpcRequest::Id).await;
        matches!(asked, Ok(RpcReply::Id(_)))
    }

    /// Who is connected to whom, as each peer says.
    pub async fn graph(&self) -> ConnectGraph {
        let mut graph = ConnectGraph::new(self.0.me.clone());
        let ids: Vec<Id> = self.peers().collect().await;
        for id in &ids {
            let reached = id.error.is_empty();
            if reached {
                let name = id.peername.clone();
                graph.id_to_peername.insert(id.id.clone(), name);
            }
            graph.cluster_trust_links.insert(id.id.clone(), true);
            let links = ids
                .iter()
                .filter(|o| reached && o.id != id.id && o.error.is_empty());
            graph
                .cluster_links
                .insert(id.id.clone(), links.map(|o| o.id.clone()).collect());
            if let Some(ipfs) = &id.ipfs.id {
                graph.cluster_to_ipfs.insert(id.id.clone(), ipfs.clone());
            }
        }
        let nodes: Vec<(PeerId, PeerId)> = graph.cluster_to_ipfs.clone().into_iter().collect();
        let asked = stream::iter(nodes).map(|(peer, node)| async move {
            let links = self.ipfs_links(&peer).await;
            (node, links)
        });
        let links: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).collect().await;
        let known: BTreeSet<PeerId> = graph.cluster_to_ipfs.values().cloned().collect();
        for (node, links) in links {
            // Those of the cluster alone: a node may know thousands of others.
            let ours = links.into_iter().filter(|peer| known.contains(peer));
            graph.ipfs_links.insert(node, ours.collect());
        }
        graph
    }

    /// To which nodes a peer's IPFS node is connected; none where it cannot tell.
    async fn ipfs_links(&self, peer: &PeerId) -> Vec<PeerId> {
        if *peer == self.0.me {
            return self.0.ipfs.swarm_peers().await.unwrap_or_default();
        }
        match rpc::ask(&self.0.net, peer, &RpcRequest::SwarmPeers).await {
            Ok(RpcReply::Peers(peers)) => peers,
            _ => Vec::new(),
        }
    }

    /// Retries a pin of this peer, if it failed.
    pub(super) async fn recover_here(&self, cid: Cid) -> Result<bool, ClusterError> {
        Ok(self.0.tracker.recover(cid).await)
    }

    /// Retries all that failed at this peer.
    pub(super) async fn recover_all_here(&self) -> Result<Vec<Cid>, ClusterError> {
        Ok(self.0.tracker.recover_all().await)
    }
}

/// As the Go program sorts them.
fn sorted_by_text(peers: Vec<PeerId>) -> Vec<PeerId> {
    let mut peers: Vec<(String, PeerId)> = peers
        .into_iter()
        .map(|peer| (peer.to_string(), peer))
        .collect();
    peers.sort();
    peers.into_iter().map(|(_, peer)| peer).collect()
}
