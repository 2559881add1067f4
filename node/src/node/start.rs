//! Start-up as one flat list, with a log line per step.

use std::{path::PathBuf, sync::Arc};

use ipfs_cluster_protocol::{id::Cid, pin::Replication, status::TableId};
use multiaddr::{Multiaddr, Protocol};
use tokio::sync::mpsc;

use super::{apis, error::StartError, join, node_ipfs::NodeIpfs, running::RunningNode, serving};
use crate::{
    api::ProcessMeter,
    cluster::{Cluster, Parts, Settings, blocks, forward_server, leader::Leader, rpc},
    config::{Config, Profile},
    consensus::{self, Consensus, ConsensusConfig},
    env::Env,
    monitor::Monitor,
    net::{self, Net, NetConfig, Proto, peerstore},
    repair::Repair,
    status::StatusTables,
    storage::Identity,
    tracker::Tracker,
    worker::Workers,
};

/// What a start is told besides the configuration.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// Addresses of peers: a peer without state joins their cluster.
    pub bootstrap: Vec<Multiaddr>,
    /// What the process uses, for its metrics; only where it is one peer's.
    pub process: Option<ProcessMeter>,
}

/// A CID for questions asked before the content is known: the empty raw block.
const UNKNOWN_CID: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

/// Starts a peer: it has joined or formed a cluster and its servers listen when this returns.
pub async fn start(
    config: Config,
    env: Env,
    options: StartOptions,
) -> Result<RunningNode, StartError> {
    let mut workers = Workers::new();
    let net = net::start(net_config(&config, &env, &options).await, &env).await?;
    tracing::info!(peer = %net.local_peer(), addresses = ?texts(&net), "swarm listens");
    let consensus = Consensus::open(consensus_config(&config), &env, &net).await?;
    let ipfs = NodeIpfs::open(&config.ipfs, &env).await?;
    if consensus.identity().is_some() {
        let greeting = join::greet(net.clone(), options.bootstrap.clone());
        workers.spawn("bootstrap", greeting);
    }
    let identity = join::member(&consensus, &net, &options.bootstrap).await?;
    tracing::info!(
        cluster = %identity.cluster, epoch = %identity.epoch,
        incarnation = %identity.incarnation, "member of the cluster"
    );

    let settings = Arc::new(settings(&config)?);
    let ping_ttl = 2 * config.cluster.ping_interval;
    let monitor = Monitor::new(net.local_peer().clone(), ping_ttl);
    let tables = StatusTables::new(table_of(&net, &consensus, identity));
    let leader = Leader::new(
        consensus.clone(),
        monitor.clone(),
        ipfs.node.clone(),
        settings.clone(),
        net.clone(),
    );
    let (tracker, inbox) = Tracker::new();
    let repair = Repair::default();
    let cluster = Cluster::new(Parts {
        me: net.local_peer().clone(),
        settings,
        net: net.clone(),
        consensus: consensus.clone(),
        ipfs: ipfs.node.clone(),
        tables: tables.clone(),
        monitor: monitor.clone(),
        tracker,
        repair: repair.clone(),
        leader: leader.clone(),
    });
    serve_peers(&mut workers, &net, &cluster, &leader);
    let (failed, failures) = mpsc::channel(1);
    serving::spawn(
        serving::Serving {
            config: &config,
            env: &env,
            net: &net,
            consensus: &consensus,
            cluster: &cluster,
            leader: &leader,
            monitor: &monitor,
            tables: &tables,
            ipfs: &ipfs.node,
            repair,
            inbox,
            identity,
            failed,
        },
        &mut workers,
    );
    let servers = apis::serve(&config, &env, &net, &cluster, &ipfs, options.process).await?;
    Ok(RunningNode::new(
        workers, servers, net, consensus, ipfs, cluster, failures,
    ))
}

/// Whose status table this peer's is: its own, of this life and this start.
fn table_of(net: &Net, consensus: &Consensus, identity: Identity) -> TableId {
    TableId {
        peer: net.local_peer().clone(),
        incarnation: identity.incarnation,
        boot: consensus.sessions().boot(),
    }
}

/// What other peers ask of this one, recovering or not.
fn serve_peers(workers: &mut Workers, net: &Net, cluster: &Cluster, leader: &Leader) {
    let (forward, questions, adds) = (
        net.accept(Proto::Forward),
        net.accept(Proto::Rpc),
        net.accept(Proto::Blocks),
    );
    let (leader, storing, cluster) = (leader.clone(), cluster.clone(), cluster.clone());
    workers.spawn_until("forward server", |stop| {
        forward_server::serve(leader, forward, stop)
    });
    workers.spawn_until("rpc server", |stop| rpc::serve(cluster, questions, stop));
    workers.spawn_until("block server", |stop| blocks::serve(storing, adds, stop));
}

async fn net_config(config: &Config, env: &Env, options: &StartOptions) -> NetConfig {
    let cluster = &config.cluster;
    let key = config.identity.private_key.expose().clone();
    let known = read_peerstore(env, cluster.peerstore.clone()).await;
    // An address that names no peer is asked who it is when this one joins.
    let named = options.bootstrap.iter().filter(|a| names_peer(a));
    let bootstrap = cluster.peer_addresses.iter().chain(named).chain(&known);
    NetConfig {
        psk: cluster.secret.as_ref().map(|psk| *psk.expose()),
        listen: cluster.listen.clone(),
        announce: cluster.announce.clone(),
        no_announce: cluster.no_announce.clone(),
        bootstrap: bootstrap.cloned().collect(),
        high_water: cluster.high_water,
        dial_timeout: cluster.dial_peer_timeout,
        peerstore: Some(cluster.peerstore.clone()),
        mdns: cluster.mdns,
        ..NetConfig::new(net::SecretBytes::new(key))
    }
}

fn names_peer(address: &Multiaddr) -> bool {
    matches!(address.iter().last(), Some(Protocol::P2p(_)))
}

/// Addresses from the last run; a file that cannot be read is only a warning.
async fn read_peerstore(env: &Env, path: PathBuf) -> Vec<Multiaddr> {
    let disk = env.disk.clone();
    let lane = env.lanes.lane("peerstore");
    let shown = path.display().to_string();
    match lane.run(move || peerstore::load(&*disk, &path)).await {
        Ok(Ok((addresses, warnings))) => {
            for warning in warnings {
                tracing::warn!(file = shown, "{warning}");
            }
            addresses
        }
        Ok(Err(e)) => {
            tracing::warn!(file = shown, error = %e, "the peerstore cannot be read");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

fn consensus_config(config: &Config) -> ConsensusConfig {
    ConsensusConfig {
        config_dir: config.folder.clone(),
        profile: match config.raft.profile {
            Profile::Auto => None,
            Profile::Local => Some(consensus::Profile::Local),
            Profile::Wan => Some(consensus::Profile::Wan),
        },
        name: config.cluster.peername.clone(),
        log_bytes_min: config.raft.log_bytes_min,
    }
}

fn settings(config: &Config) -> Result<Settings, StartError> {
    let unknown_cid: Cid = UNKNOWN_CID
        .parse()
        .map_err(|e| StartError::Config(format!("{e}")))?;
    let replication: Replication = config.cluster.replication;
    Ok(Settings {
        peername: config.cluster.peername.clone(),
        default_factors: (replication.min(), replication.max()),
        allocate_by: config.allocate_by.clone(),
        follower_mode: config.cluster.follower_mode,
        write_timeout: config.raft.wait_for_leader_timeout,
        unknown_cid,
    })
}

fn texts(net: &Net) -> Vec<String> {
    net.listen_addresses()
        .iter()
        .map(ToString::to_string)
        .collect()
}
