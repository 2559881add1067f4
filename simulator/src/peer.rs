//! The program on a simulated machine: the shipping peer, put together above its doors.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::{
    consensus::{Consensus, ConsensusConfig, Profile},
    env::Env,
    net::{Identity, NetConfig},
};
use ipfs_cluster_protocol::id::PeerId;
use tokio::time::Instant;

use crate::{host::Program, network::ip, world::HostId};

/// Port of the cluster's swarm.
const SWARM_PORT: u16 = 9096;
/// How long a peer tries to join before its supervisor starts it again.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// Who the peers of a cluster are.
#[derive(Debug)]
pub struct Cluster {
    identities: Vec<Identity>,
    secret: [u8; 32],
}

impl Cluster {
    /// Keys for peers 1 to `peers`; drawn from the entropy of the calling thread's domain.
    #[must_use]
    pub fn generate(peers: usize) -> Self {
        Self {
            identities: (0..peers).map(|_| Identity::generate()).collect(),
            secret: [7; 32],
        }
    }

    /// The ID of a peer.
    #[must_use]
    pub fn id(&self, host: HostId) -> Option<PeerId> {
        let identity = self.identities.get(host.checked_sub(1)?)?;
        Some(identity.peer_id())
    }

    /// Which peer has this ID.
    #[must_use]
    pub fn host(&self, id: &PeerId) -> Option<HostId> {
        let at = self.identities.iter().position(|i| i.peer_id() == *id)?;
        Some(at + 1)
    }
}

/// The running peer's handle, while it runs.
#[derive(Debug, Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Consensus>>>);

impl Slot {
    /// The consensus of the present life, once it is a member.
    #[must_use]
    pub fn get(&self) -> Option<Consensus> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put(&self, consensus: Option<Consensus>) {
        let old = std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            consensus,
        );
        // Dropped after the lock: its drop may reach doors.
        drop(old);
    }
}

/// One peer.
#[derive(Debug, Clone)]
pub struct Peer {
    host: HostId,
    cluster: Arc<Cluster>,
    slot: Slot,
}

impl Peer {
    /// The peer on this host. Peer 1 forms the cluster, the others join through it.
    #[must_use]
    pub fn new(host: HostId, cluster: Arc<Cluster>, slot: Slot) -> Self {
        Self {
            host,
            cluster,
            slot,
        }
    }

    async fn run(self, env: Env) -> Result<(), String> {
        let net = ipfs_cluster_node::net::start(self.net_config()?, &env)
            .await
            .map_err(|e| e.to_string())?;
        let config = ConsensusConfig {
            config_dir: PathBuf::from("/cluster"),
            profile: Profile::Local,
            name: format!("peer{}", self.host),
        };
        let consensus = Consensus::open(config, &env, &net)
            .await
            .map_err(|e| e.to_string())?;
        if consensus.identity().is_none() {
            self.become_member(&consensus).await?;
        }
        self.slot.put(Some(consensus));
        futures::future::pending().await
    }

    async fn become_member(&self, consensus: &Consensus) -> Result<(), String> {
        let first = self.cluster.id(1).filter(|_| self.host != 1);
        let done = match first {
            None => consensus.form().await,
            Some(first) => consensus.join(&[first], Instant::now() + JOIN_MAX).await,
        };
        done.map(|_| ()).map_err(|e| e.to_string())
    }

    fn net_config(&self) -> Result<NetConfig, String> {
        let identity = self.cluster.identities.get(self.host - 1);
        let key = identity
            .ok_or("no such peer")?
            .to_secret()
            .map_err(|e| e.to_string())?;
        let listen = format!("/ip4/0.0.0.0/tcp/{SWARM_PORT}");
        let first = self.cluster.id(1).ok_or("no peers")?;
        let bootstrap = format!("/ip4/{}/tcp/{SWARM_PORT}/p2p/{first}", ip(1));
        Ok(NetConfig {
            psk: Some(self.cluster.secret),
            listen: vec![listen.parse().map_err(|e| format!("{listen}: {e}"))?],
            bootstrap: vec![bootstrap.parse().map_err(|e| format!("{bootstrap}: {e}"))?],
            peerstore: Some(PathBuf::from("/cluster/peerstore")),
            ..NetConfig::new(key)
        })
    }
}

impl Program for Peer {
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>> {
        self.clone().run(env).boxed()
    }

    fn forget(&mut self) {
        self.slot.put(None);
    }
}
