//! The program on a simulated machine: the shipping peer, put together above its doors.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::{
    config::{
        self, Identity, Variables,
        init::{InitOptions, IpfsKind, Listen},
    },
    consensus::Consensus,
    env::{Disk, Env},
    node::{self, Exit, StartOptions},
};
use ipfs_cluster_protocol::id::PeerId;

use crate::{host::Program, network::ip, scenario::Tuning, world::HostId};

/// The configuration folder on each machine.
const FOLDER: &str = "/cluster";
/// Port of the cluster's swarm.
const SWARM_PORT: u16 = 9096;

/// Who the peers of a cluster are.
#[derive(Debug)]
pub struct Cluster {
    identities: Vec<Identity>,
    secret: String,
    tuning: Tuning,
}

impl Cluster {
    /// Keys for peers 1 to `peers`; drawn from the entropy of the calling thread's domain.
    #[must_use]
    pub fn generate(peers: usize, tuning: Tuning) -> Self {
        Self {
            identities: (0..peers).map(|_| Identity::generate()).collect(),
            secret: hex::encode([7; 32]),
            tuning,
        }
    }

    /// The ID of a peer.
    #[must_use]
    pub fn id(&self, host: HostId) -> Option<PeerId> {
        let identity = self.identities.get(host.checked_sub(1)?)?;
        Some(identity.peer.clone())
    }

    /// Which peer has this ID.
    #[must_use]
    pub fn host(&self, id: &PeerId) -> Option<HostId> {
        let at = self.identities.iter().position(|i| i.peer == *id)?;
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
        let folder = Path::new(FOLDER);
        if !env.disk.exists(&folder.join(config::init::FILE)) {
            self.init(&*env.disk)?;
        }
        let loaded = config::load(folder, &*env.disk, &Variables::new());
        let mut loaded = loaded.map_err(|e| e.to_string())?;
        self.cluster.tuning.apply(&mut loaded.config);
        let options = StartOptions {
            bootstrap: self.bootstrap()?,
        };
        let mut running = node::start(loaded.config, env, options)
            .await
            .map_err(|e| e.to_string())?;
        self.slot.put(Some(running.consensus().clone()));
        match running.ended().await {
            Exit::Removed => Ok(()),
            Exit::Failed(why) => Err(why),
        }
    }

    /// What `ipfs-cluster-service init` does.
    fn init(&self, disk: &dyn Disk) -> Result<(), String> {
        let folder = Path::new(FOLDER);
        let identity = self.cluster.identities.get(self.host - 1);
        disk.create_dir_all(folder).map_err(|e| e.to_string())?;
        disk.sync_dir(Path::new("/")).map_err(|e| e.to_string())?;
        identity
            .ok_or("no such peer")?
            .save(folder, disk)
            .map_err(|e| e.to_string())?;
        let tcp = |port: u16| format!("/ip4/0.0.0.0/tcp/{port}");
        let options = InitOptions {
            ipfs: IpfsKind::Embedded,
            secret: Some(self.cluster.secret.clone()),
            peers: Vec::new(),
            listen: Some(Listen {
                swarm: tcp(SWARM_PORT),
                rest: tcp(9094),
                proxy: tcp(9095),
                ipfs_swarm: tcp(4001),
            }),
        };
        config::init::init(folder, disk, &Variables::new(), &options)
            .map(|_| ())
            .map_err(|e| e.to_string())
    }

    /// Peer 1 forms the cluster, the others join through it.
    fn bootstrap<A>(&self) -> Result<Vec<A>, String>
    where
        A: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some(first) = self.cluster.id(1).filter(|_| self.host != 1) else {
            return Ok(Vec::new());
        };
        let address = format!("/ip4/{}/tcp/{SWARM_PORT}/p2p/{first}", ip(1));
        let parsed = address.parse().map_err(|e| format!("{address}: {e}"))?;
        Ok(vec![parsed])
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
