//! The program on a simulated machine: the shipping peer, put together above its doors.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::{
    cluster::Cluster as UseCases,
    config::{
        self, Identity, Variables,
        init::{InitOptions, IpfsKind, Listen},
    },
    consensus::{Consensus, RaftStatus},
    env::{Disk, Env},
    node::{self, Exit, StartOptions},
};
use ipfs_cluster_protocol::id::PeerId;

use crate::{host::Program, ipfs::RPC_PORT, network::ip, scenario::Tuning, world::HostId};

/// The configuration folder on each machine.
const FOLDER: &str = "/cluster";
/// Port of the cluster's swarm.
pub const SWARM_PORT: u16 = 9096;
/// Port of the REST API.
pub const REST_PORT: u16 = 9094;

/// Around the swarm of every cluster.
const SECRET: [u8; 32] = [7; 32];

/// Who the peers of a cluster are, and where.
#[derive(Debug)]
pub struct Cluster {
    identities: BTreeMap<HostId, Identity>,
    /// Peers that any other can join through.
    first: Vec<HostId>,
    /// Zones, shown as the tag `group`.
    zones: BTreeMap<HostId, String>,
    /// Kubos beside peers.
    kubos: BTreeMap<HostId, HostId>,
    /// Addresses of another cluster that its peers know.
    strangers: Vec<String>,
    tuning: Tuning,
}

impl Cluster {
    /// Keys for the peers on these hosts, the `first` of which can be joined through; drawn from
    /// the entropy of the calling thread's domain.
    #[must_use]
    pub fn generate(hosts: impl IntoIterator<Item = HostId>, first: usize, tuning: Tuning) -> Self {
        let identity = |host| (host, Identity::generate());
        let identities: BTreeMap<_, _> = hosts.into_iter().map(identity).collect();
        Self {
            first: identities.keys().take(first).copied().collect(),
            identities,
            zones: BTreeMap::new(),
            kubos: BTreeMap::new(),
            strangers: Vec::new(),
            tuning,
        }
    }

    /// Puts peers into zones and Kubos beside them.
    #[must_use]
    pub fn placed(self, zones: BTreeMap<HostId, String>, kubos: BTreeMap<HostId, HostId>) -> Self {
        Self {
            zones,
            kubos,
            ..self
        }
    }

    /// Lets its peers know the addresses of another cluster.
    #[must_use]
    pub fn knowing(self, others: &Self) -> Self {
        let strangers = others.first.iter().filter_map(|host| others.address(*host));
        Self {
            strangers: strangers.collect(),
            ..self
        }
    }

    /// What the clients of its swarm must know.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        SECRET
    }

    /// The peers that form it.
    #[must_use]
    pub fn founders(&self) -> &[HostId] {
        &self.first
    }

    /// The ID of a peer.
    #[must_use]
    pub fn id(&self, host: HostId) -> Option<PeerId> {
        Some(self.identities.get(&host)?.peer.clone())
    }

    /// Which machine each peer is on.
    #[must_use]
    pub fn machines(&self) -> BTreeMap<PeerId, HostId> {
        let machine = |(host, identity): (&HostId, &Identity)| (identity.peer.clone(), *host);
        self.identities.iter().map(machine).collect()
    }

    /// The zone of each peer that has one.
    #[must_use]
    pub fn zones(&self) -> BTreeMap<PeerId, String> {
        let zone = |(host, zone): (&HostId, &String)| Some((self.id(*host)?, zone.clone()));
        self.zones.iter().filter_map(zone).collect()
    }

    /// The swarm's address of a peer.
    fn address(&self, host: HostId) -> Option<String> {
        let id = self.id(host)?;
        Some(format!("/ip4/{}/tcp/{SWARM_PORT}/p2p/{id}", ip(host)))
    }
}

/// What of a running peer can be looked at.
#[derive(Debug, Clone)]
pub struct Handles {
    /// Log and state.
    pub consensus: Consensus,
    /// The use cases.
    pub cluster: UseCases,
}

/// The running peer's handles, while it runs.
#[derive(Debug, Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Handles>>>);

impl Slot {
    /// All of the present life, once it is a member.
    #[must_use]
    pub fn handles(&self) -> Option<Handles> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The consensus of the present life, once it is a member.
    #[must_use]
    pub fn get(&self) -> Option<Consensus> {
        Some(self.handles()?.consensus)
    }

    /// What there is to see of the consensus of the present life, once it is a member.
    pub fn status<T>(&self, read: impl FnOnce(&RaftStatus) -> T) -> Option<T> {
        let handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = handles.as_ref()?.consensus.status();
        Some(read(&status.borrow()))
    }

    fn put(&self, handles: Option<Handles>) {
        let old = std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            handles,
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
    /// Which life of it this is, from 1.
    life: u32,
}

impl Peer {
    /// The peer on this host. The first of a cluster forms it, the others join.
    #[must_use]
    pub fn new(host: HostId, cluster: Arc<Cluster>, slot: Slot) -> Self {
        Self {
            host,
            cluster,
            slot,
            life: 0,
        }
    }

    async fn run(self, env: Env) -> Result<(), String> {
        let folder = Path::new(FOLDER);
        if !env.disk.exists(&folder.join(config::init::FILE)) {
            self.init(&*env.disk)?;
        }
        let loaded = config::load(folder, &*env.disk, &Variables::new());
        let mut config = loaded.map_err(|e| e.to_string())?.config;
        self.cluster.tuning.apply(&mut config);
        let zone = self.cluster.zones.get(&self.host);
        if let (Some(zone), Some((_, tags))) = (zone, &mut config.informers.tags) {
            tags.insert("group".to_owned(), zone.clone());
        }
        let options = StartOptions {
            bootstrap: self.bootstrap()?,
            ..StartOptions::default()
        };
        let mut running = node::start(config, env, options)
            .await
            .map_err(|e| e.to_string())?;
        self.slot.put(Some(Handles {
            consensus: running.consensus().clone(),
            cluster: running.cluster().clone(),
        }));
        match running.ended().await {
            Exit::Removed => Ok(()),
            Exit::Failed(why) => Err(why),
        }
    }

    /// What `ipfs-cluster-service init` does.
    fn init(&self, disk: &dyn Disk) -> Result<(), String> {
        let folder = Path::new(FOLDER);
        let identity = self.cluster.identities.get(&self.host);
        disk.create_dir_all(folder).map_err(|e| e.to_string())?;
        disk.sync_dir(Path::new("/")).map_err(|e| e.to_string())?;
        identity
            .ok_or("no such peer")?
            .save(folder, disk)
            .map_err(|e| e.to_string())?;
        let tcp = |port: u16| format!("/ip4/0.0.0.0/tcp/{port}");
        let kubo = self.cluster.kubos.get(&self.host);
        let node = kubo.map(|kubo| format!("/ip4/{}/tcp/{RPC_PORT}", ip(*kubo)));
        let options = InitOptions {
            ipfs: if node.is_some() {
                IpfsKind::Http
            } else {
                IpfsKind::Embedded
            },
            secret: Some(hex::encode(SECRET)),
            peers: self.cluster.strangers.clone(),
            listen: Some(Listen {
                swarm: tcp(SWARM_PORT),
                rest: tcp(REST_PORT),
                proxy: tcp(9095),
                pinning: tcp(9097),
                ipfs_swarm: tcp(4001),
            }),
            source: None,
        };
        let variables = ["CLUSTER_IPFSHTTP", "CLUSTER_IPFSPROXY"]
            .into_iter()
            .filter_map(|section| Some((format!("{section}_NODEMULTIADDRESS"), node.clone()?)));
        config::init::init(folder, disk, &variables.collect(), &options)
            .map(|_| ())
            .map_err(|e| e.to_string())
    }

    /// In its first life the first peer forms the cluster and the others join through it; later a
    /// peer that has lost its state joins through anybody.
    fn bootstrap<A>(&self) -> Result<Vec<A>, String>
    where
        A: std::str::FromStr<Err: std::fmt::Display>,
    {
        let first = &self.cluster.first;
        let early = self.life == 1 && first.contains(&self.host);
        let via = if early { first.get(..1) } else { None };
        let others = via
            .unwrap_or(first)
            .iter()
            .filter(|host| **host != self.host);
        let addresses = others.filter_map(|host| self.cluster.address(*host));
        let parsed = addresses.map(|text| text.parse().map_err(|e| format!("{text}: {e}")));
        parsed.collect()
    }
}

impl Program for Peer {
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>> {
        self.life += 1;
        self.clone().run(env).boxed()
    }

    fn forget(&mut self) {
        self.slot.put(None);
    }
}
