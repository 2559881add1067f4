//! A peer at work, and its end.

use std::time::Duration;

use ipfs_cluster_protocol::id::Incarnation;
use multiaddr::Multiaddr;
use tokio::sync::mpsc;

use super::{apis::Servers, node_ipfs::NodeIpfs, serving};
use crate::{
    cluster::{Cluster, LeaveError},
    consensus::Consensus,
    env::Addr,
    net::Net,
    storage::Identity,
    worker::Workers,
};

/// How long the tasks may take to end.
const TASKS_MAX: Duration = Duration::from_secs(5);

/// Where a peer can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The REST API.
    pub rest: Vec<Addr>,
    /// The IPFS proxy.
    pub proxy: Vec<Addr>,
    /// Metrics for Prometheus, where they have listeners of their own.
    pub metrics: Vec<Addr>,
    /// The Pinning Service API.
    pub pinning: Vec<Addr>,
    /// The gateway of an embedded IPFS node.
    pub gateway: Vec<Addr>,
    /// The RPC of an embedded IPFS node.
    pub ipfs_rpc: Vec<Addr>,
    /// The cluster's swarm, with `/p2p/`.
    pub swarm: Vec<Multiaddr>,
}

/// Why a peer ends on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was removed from the cluster.
    Removed,
    /// A part of it cannot go on.
    Failed(String),
}

/// A peer that runs. Stop it with [`RunningNode::shutdown`]; dropping it aborts its tasks.
#[derive(Debug)]
pub struct RunningNode {
    workers: Workers,
    servers: Servers,
    net: Net,
    consensus: Consensus,
    ipfs: NodeIpfs,
    cluster: Cluster,
    failures: mpsc::Receiver<String>,
}

impl RunningNode {
    pub(super) fn new(
        workers: Workers,
        servers: Servers,
        net: Net,
        consensus: Consensus,
        ipfs: NodeIpfs,
        cluster: Cluster,
        failures: mpsc::Receiver<String>,
    ) -> Self {
        Self {
            workers,
            servers,
            net,
            consensus,
            ipfs,
            cluster,
            failures,
        }
    }

    /// Where it can be reached.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        let of = |server: &Option<crate::api::Server>| {
            server
                .as_ref()
                .map(|s| s.addresses().to_vec())
                .unwrap_or_default()
        };
        Addresses {
            rest: of(&self.servers.rest),
            proxy: of(&self.servers.proxy),
            metrics: of(&self.servers.metrics),
            pinning: of(&self.servers.pinning),
            gateway: of(&self.servers.gateway),
            ipfs_rpc: of(&self.servers.ipfs_rpc),
            swarm: self.net.listen_addresses(),
        }
    }

    /// Its use cases.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Its consensus.
    #[must_use]
    pub fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Which cluster it is in and who it is there.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.consensus.identity()
    }

    /// Resolves when the peer cannot or must not go on. Cancel-safe.
    pub async fn ended(&mut self) -> Exit {
        let own = self
            .consensus
            .identity()
            .map(|i| i.incarnation)
            .unwrap_or_default();
        tokio::select! {
            biased;
            () = serving::removed(self.consensus.clone(), self.net.clone(), own) => Exit::Removed,
            outvoted = self.consensus.agreement().outvoted() => Exit::Failed(outvoted.to_string()),
            later = self.net.admitted_again() => Exit::Failed(former_life(own, later)),
            reason = self.consensus.broken() => Exit::Failed(reason),
            Some(reason) = self.failures.recv() => Exit::Failed(reason),
            ended = self.workers.ended() => Exit::Failed(ended.to_string()),
        }
    }

    /// Takes this peer out of its cluster before it stops, if that can be done in bounded time. The
    /// caller moves its state aside once it has stopped.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        self.cluster.leave().await
    }

    /// A planned stop: clients first, then the lead is handed over, files are synced, and the
    /// connections close last.
    pub async fn shutdown(self) {
        tracing::info!("stopping");
        self.servers.shutdown().await;
        self.workers.shutdown(TASKS_MAX).await;
        self.consensus.shutdown().await;
        self.ipfs.shutdown().await;
        self.net.shutdown().await;
        tracing::info!("stopped");
    }
}

/// A folder from before the peer joined anew, such as a backup, must not vote: what it had promised
/// then is forgotten.
fn former_life(own: Incarnation, later: Incarnation) -> String {
    format!(
        "this folder holds a former life of this peer (incarnation {own}): the cluster has admitted \
         it again since, as {later}. Was it restored from a backup? Move its state aside with \
         `ipfs-cluster-service state cleanup`, and start it with `daemon --bootstrap` and the \
         address of a member"
    )
}
