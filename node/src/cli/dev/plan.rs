//! Folders, ports and configuration of the peers.

use std::path::{Path, PathBuf};

use ipfs_cluster_node::{
    config::{
        self, Config, Variables,
        init::{self, InitOptions, IpfsKind},
    },
    env::{Addr, Disk},
    storage::DataFolder,
};
use ipfs_cluster_protocol::api::duration;
use multiaddr::Multiaddr;

use super::{Failure, Shell};
use crate::cli::args::Dev;

/// The usual port of the REST API, for the first peer if it is free: that is where clients look.
const REST_PORT: u16 = 9094;
const PLANNING: &str = "preparing the cluster";

/// One peer before its start.
pub(super) struct Planned {
    pub(super) folder: PathBuf,
    /// What differs from the file, as environment variables.
    pub(super) vars: Variables,
    pub(super) config: Config,
    /// The addresses of the others.
    pub(super) bootstrap: Vec<Multiaddr>,
}

impl Shell {
    /// Writes what folders are missing and works out who listens where.
    pub(super) async fn plan(&self, args: &Dev, folder: &Path) -> Result<Vec<Planned>, Failure> {
        duration::parse(&args.repair_grace)
            .map_err(|e| Failure::new("reading --repair-grace", e))?;
        let mut planned: Vec<Planned> = Vec::new();
        let mut secret = None;
        for number in 1..=args.peers {
            let name = format!("peer{number}");
            let folder = folder.join(&name);
            let vars = self.dev_vars(&name, number == 1, args).await?;
            if !self.env.disk.exists(&folder.join(init::FILE)) {
                let options = InitOptions {
                    ipfs: IpfsKind::Embedded,
                    secret: secret.clone(),
                    peers: Vec::new(),
                    listen: None,
                    source: None,
                };
                init::init(&folder, &*self.env.disk, &vars, &options)
                    .map_err(|e| Failure::new(PLANNING, e))?;
            }
            let loaded = config::load(&folder, &*self.env.disk, &vars);
            let config = loaded.map_err(|e| Failure::new(PLANNING, e))?.config;
            let psk = config.cluster.secret.as_ref();
            secret = psk.map(|psk| hex::encode(psk.expose()));
            planned.push(Planned {
                folder,
                vars,
                config,
                bootstrap: Vec::new(),
            });
        }
        introduce(&mut planned, &*self.env.disk)?;
        Ok(planned)
    }

    /// Loopback and free ports; metrics quick enough for a repair to be watched.
    async fn dev_vars(&self, name: &str, first: bool, args: &Dev) -> Result<Variables, Failure> {
        let zero = "/ip4/127.0.0.1/tcp/0".to_owned();
        let swarm = format!("/ip4/127.0.0.1/tcp/{}", self.free_port(0).await?);
        let rest = match self.free_port(REST_PORT).await {
            Ok(port) if first => format!("/ip4/127.0.0.1/tcp/{port}"),
            _ => zero.clone(),
        };
        let set = [
            ("CLUSTER_PEERNAME", name.to_owned()),
            ("CLUSTER_LISTENMULTIADDRESS", swarm),
            ("CLUSTER_MDNSINTERVAL", "0s".to_owned()),
            ("CLUSTER_MONITORPINGINTERVAL", "1s".to_owned()),
            ("CLUSTER_PUBSUBMON_CHECKINTERVAL", "500ms".to_owned()),
            ("CLUSTER_DISK_METRICTTL", "4s".to_owned()),
            ("CLUSTER_TAGS_METRICTTL", "4s".to_owned()),
            ("CLUSTER_PINQUEUE_METRICTTL", "4s".to_owned()),
            ("CLUSTER_REPAIR_GRACE", args.repair_grace.clone()),
            ("CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS", rest),
            ("CLUSTER_IPFSPROXY_LISTENMULTIADDRESS", zero.clone()),
            ("CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS", zero.clone()),
            ("CLUSTER_EMBEDDED_SWARMLISTENMULTIADDRESS", zero.clone()),
            ("CLUSTER_EMBEDDED_RPCLISTENMULTIADDRESS", zero.clone()),
            ("CLUSTER_EMBEDDED_GATEWAYLISTENMULTIADDRESS", zero),
        ];
        Ok(set.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    /// A port that is free now; 0 for any.
    async fn free_port(&self, port: u16) -> Result<u16, Failure> {
        let listener = self
            .env
            .listen
            .listen(Addr::Tcp("127.0.0.1".to_owned(), port))
            .await;
        match listener
            .map_err(|e| Failure::new(PLANNING, e))?
            .local_addr()
        {
            Addr::Tcp(_, port) => Ok(port),
            Addr::Unix(_) => Ok(0),
        }
    }
}

/// The first peer forms the cluster and the others join through it; those that have state already
/// look for each other.
fn introduce(planned: &mut [Planned], disk: &dyn Disk) -> Result<(), Failure> {
    let addresses: Vec<Multiaddr> = planned
        .iter()
        .filter_map(|p| Some((p.config.cluster.listen.first()?, &p.config.identity.peer)))
        .map(|(address, peer)| format!("{address}/p2p/{peer}").parse())
        .collect::<Result<_, _>>()
        .map_err(|e| Failure::new(PLANNING, e))?;
    for (number, peer) in planned.iter_mut().enumerate() {
        let has_state = disk.exists(&peer.folder.join(DataFolder::NAME));
        let known = addresses.iter().enumerate().filter(|(n, _)| {
            let other = *n != number;
            other && (has_state || *n == 0)
        });
        peer.bootstrap = known.map(|(_, a)| a.clone()).collect();
    }
    Ok(())
}
