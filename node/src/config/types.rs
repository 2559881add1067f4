//! The checked configuration: what the rest of the program works with.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ipfs_cluster_protocol::pin::Replication;
use multiaddr::Multiaddr;

use super::{
    identity::Identity,
    secret::{Psk, Secret},
};
use crate::env::Addr;

/// All of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The configuration folder.
    pub folder: PathBuf,
    /// Who this peer is.
    pub identity: Identity,
    /// The peer and its place in the cluster.
    pub cluster: Cluster,
    /// The log and the state.
    pub raft: Raft,
    /// The REST API, unless it is off.
    pub rest: Option<HttpServer>,
    /// The Pinning Service API, unless it is off.
    pub pinning: Option<HttpServer>,
    /// The IPFS proxy, unless it is off.
    pub proxy: Option<Proxy>,
    /// The IPFS node.
    pub ipfs: Ipfs,
    /// Work on the IPFS node.
    pub tracker: Tracker,
    /// How often metrics are checked for lapses.
    pub monitor_check_interval: Duration,
    /// Metrics that order candidates for a pin: domains first, then a weight.
    pub allocate_by: Vec<String>,
    /// What the peer tells of itself.
    pub informers: Informers,
    /// Metrics for Prometheus.
    pub metrics: Metrics,
    /// Spans for a collector.
    pub tracing: Tracing,
    /// Re-placing of what lacks replicas.
    pub repair: Repair,
}

/// The peer and its place in the cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Shown to users.
    pub peername: String,
    /// Around the swarm; none leaves it open.
    pub secret: Option<Psk>,
    /// Leave the cluster at a planned stop.
    pub leave_on_shutdown: bool,
    /// Addresses of the swarm, those that can be served.
    pub listen: Vec<Multiaddr>,
    /// Told to others instead of the listen addresses.
    pub announce: Vec<Multiaddr>,
    /// Never told to others.
    pub no_announce: Vec<Multiaddr>,
    /// Connections above which idle ones are closed.
    pub high_water: u32,
    /// How long a dial may take.
    pub dial_peer_timeout: Duration,
    /// How often the leader looks for expired pins.
    pub state_sync_interval: Duration,
    /// How often failed pins are retried at the latest.
    pub pin_recover_interval: Duration,
    /// For pins that do not say.
    pub replication: Replication,
    /// Period of the ping metric; it counts twice as long.
    pub ping_interval: Duration,
    /// Whether peers of the same network segment are looked for.
    pub mdns: bool,
    /// Repair is off.
    pub disable_repinning: bool,
    /// Writes through this peer are refused.
    pub follower_mode: bool,
    /// Known peers, one multiaddr a line.
    pub peerstore: PathBuf,
    /// Multiaddrs with `/p2p/` that are always tried first.
    pub peer_addresses: Vec<Multiaddr>,
}

/// Timing of the consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As the measured round trips call for.
    Auto,
    /// Round trips below 30 ms.
    Local,
    /// Anything slower.
    Wan,
}

/// The log and the state.
#[derive(Debug, Clone)]
pub struct Raft {
    /// Timing.
    pub profile: Profile,
    /// How long a write waits for a leader.
    pub wait_for_leader_timeout: Duration,
    /// How many old folders `state cleanup` keeps.
    pub backups_rotate: u32,
    /// Bytes of log that are always kept. No key of the file says so: simulations make it small.
    pub log_bytes_min: u64,
}

/// Cross-origin rules of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// `*` or origins.
    pub allowed_origins: Vec<String>,
    /// Methods.
    pub allowed_methods: Vec<String>,
    /// Request headers.
    pub allowed_headers: Vec<String>,
    /// Response headers that scripts may read.
    pub exposed_headers: Vec<String>,
    /// Whether credentials are allowed.
    pub allow_credentials: bool,
    /// How long a preflight answer counts; zero leaves it out.
    pub max_age: Duration,
}

/// Files with which a server shows who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM: its certificate, and those above it.
    pub certificates: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}

/// A libp2p host of an API's own, without a secret around it.
#[derive(Debug, Clone)]
pub struct ApiHost {
    /// Where it listens.
    pub listen: Vec<Multiaddr>,
    /// Who it is.
    pub identity: Identity,
}

/// An HTTP server.
#[derive(Debug, Clone)]
pub struct HttpServer {
    /// Where it listens.
    pub listen: Vec<Addr>,
    /// It speaks TLS with these.
    pub tls: Option<Tls>,
    /// It is also served on streams of this host.
    pub host: Option<ApiHost>,
    /// For a whole request; zero is without limit.
    pub read_timeout: Duration,
    /// For the head of a request.
    pub read_header_timeout: Duration,
    /// For a whole answer; zero is without limit.
    pub write_timeout: Duration,
    /// Between requests of a connection.
    pub idle_timeout: Duration,
    /// Of the head of a request.
    pub max_header_bytes: usize,
    /// Users and passwords; none leaves the API open.
    pub basic_auth: Option<BTreeMap<String, Secret<String>>>,
    /// Access log.
    pub log_file: Option<PathBuf>,
    /// Added to every answer.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Cross-origin rules.
    pub cors: Cors,
}

/// The IPFS proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it listens.
    pub listen: Vec<Addr>,
    /// The IPFS node behind it.
    pub node: Addr,
    /// It is called over HTTPS.
    pub node_https: bool,
    /// For a whole request; zero is without limit.
    pub read_timeout: Duration,
    /// For the head of a request.
    pub read_header_timeout: Duration,
    /// For a whole answer; zero is without limit.
    pub write_timeout: Duration,
    /// Between requests of a connection.
    pub idle_timeout: Duration,
    /// Of the head of a request.
    pub max_header_bytes: usize,
    /// Access log.
    pub log_file: Option<PathBuf>,
    /// Headers of the IPFS node that intercepted answers carry too.
    pub extract_headers: Vec<String>,
    /// Where those are asked for.
    pub extract_headers_path: String,
    /// How long they are kept.
    pub extract_headers_ttl: Duration,
}

/// The IPFS node.
#[derive(Debug, Clone)]
pub enum Ipfs {
    /// Beside the peer, over its RPC.
    Http(HttpIpfs),
    /// In the peer's own process.
    Embedded(EmbeddedIpfs),
}

impl Ipfs {
    /// Whether content is never unpinned.
    #[must_use]
    pub fn unpin_disable(&self) -> bool {
        match self {
            Self::Http(http) => http.unpin_disable,
            Self::Embedded(embedded) => embedded.unpin_disable,
        }
    }
}

/// An IPFS node over its RPC.
#[derive(Debug, Clone)]
pub struct HttpIpfs {
    /// Its RPC address.
    pub node: Addr,
    /// When, after the start, it is connected to the nodes of the other peers.
    pub connect_swarms_delay: Duration,
    /// For ordinary calls.
    pub request_timeout: Duration,
    /// A pin that makes no progress for so long has failed.
    pub pin_timeout: Duration,
    /// For an unpin.
    pub unpin_timeout: Duration,
    /// For a garbage collection.
    pub repogc_timeout: Duration,
    /// Content is never unpinned.
    pub unpin_disable: bool,
}

/// The IPFS node in the peer's own process.
#[derive(Debug, Clone)]
pub struct EmbeddedIpfs {
    /// Addresses of its swarm.
    pub swarm_listen: Vec<Multiaddr>,
    /// Where its RPC listens; nowhere if empty. It has no users: for this machine alone.
    pub rpc_listen: Vec<Addr>,
    /// Where its gateway listens; nowhere if empty.
    pub gateway_listen: Vec<Addr>,
    /// Hosts of the gateway below which every root has a name of its own.
    pub gateway_hosts: Vec<String>,
    /// Blocks, pins and key.
    pub repo: PathBuf,
    /// Bytes it may fill.
    pub storage_max: u64,
    /// All its blocks are read and compared with their names once in so long; never if zero.
    pub check_interval: Duration,
    /// A pin that makes no progress for so long has failed.
    pub pin_timeout: Duration,
    /// Content is never unpinned.
    pub unpin_disable: bool,
}

/// Work on the IPFS node.
#[derive(Debug, Clone)]
pub struct Tracker {
    /// Pins fetched at once.
    pub concurrent_pins: usize,
    /// Pins younger than this go first.
    pub priority_pin_max_age: Duration,
    /// After so many failures a pin is not preferred any more.
    pub priority_pin_max_retries: u32,
    /// Pins waiting at most.
    pub max_pin_queue_size: usize,
}

/// What the disk metric tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskMetric {
    /// `freespace`: more is better.
    FreeSpace,
    /// `reposize`: less is better.
    RepoSize,
}

/// The disk metric.
#[derive(Debug, Clone)]
pub struct Disk {
    /// How long a value counts.
    pub ttl: Duration,
    /// Which it is.
    pub metric: DiskMetric,
}

/// What the peer tells of itself.
#[derive(Debug, Clone)]
pub struct Informers {
    /// Room, unless off.
    pub disk: Option<Disk>,
    /// How long the tag metrics count, and the tags, unless off.
    pub tags: Option<(Duration, BTreeMap<String, String>)>,
    /// How long the queue metric counts, and pins per unit of weight, unless off.
    pub pinqueue: Option<(Duration, u64)>,
}

/// Metrics for Prometheus.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Whether they have listeners of their own.
    pub enabled: bool,
    /// Those listeners.
    pub listen: Vec<Addr>,
}

/// Spans for a collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Whether any are sent.
    pub enabled: bool,
    /// Address of the collector, without the path of the traces.
    pub endpoint: String,
    /// Share of the traces that begin here and are sent, from 0 to 1.
    pub sampling: f64,
    /// What the peer is called there.
    pub service: String,
}

/// Re-placing of what lacks replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct Repair {
    /// How long a peer may be down before its pins are copied elsewhere.
    pub grace: Duration,
    /// Budget.
    pub pins_per_second: f64,
}
