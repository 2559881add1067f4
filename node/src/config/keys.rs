//! The table of `service.json`: every section and key this program knows, what it may hold, its
//! default, and whether `init` writes it. Reading, the environment, the warning about unknown keys
//! and `init` all follow from it.

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    /// One text or a list of texts.
    Texts,
    /// Text to text.
    Map,
    /// Text to a list of texts.
    Lists,
    /// A Go duration, such as `1m30s`.
    Duration,
    /// A text that is never shown.
    Secret,
    /// User to password.
    Secrets,
}

/// The value of a key that is missing, `null` or empty.
#[derive(Debug, Clone, Copy)]
pub(super) enum Preset {
    /// `null`, or worked out by the program.
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
    List(&'static [&'static str]),
    Map(&'static [(&'static str, &'static str)]),
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Obeyed; `init` writes it.
    Written,
    /// Obeyed; `init` leaves it out.
    Hidden,
    /// A key of the Go program without effect here, and why.
    Without(&'static str),
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Preset,
    pub(super) r#use: Use,
}

/// One object of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// Keys from the root, with dots.
    pub(super) path: &'static str,
    /// Prefix of its environment variables.
    pub(super) env: &'static str,
    /// Whether it counts, with its defaults, when the file does not have it.
    pub(super) implied: bool,
    pub(super) keys: &'static [Key],
}

const fn key(name: &'static str, kind: Kind, default: Preset) -> Key {
    Key {
        name,
        kind,
        default,
        r#use: Use::Written,
    }
}

const fn hidden(name: &'static str, kind: Kind, default: Preset) -> Key {
    Key {
        name,
        kind,
        default,
        r#use: Use::Hidden,
    }
}

const fn without(name: &'static str, kind: Kind, why: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Preset::None,
        r#use: Use::Without(why),
    }
}

const NO_RELAY: &str = "this program is not a relay";
const OWN_LIMITS: &str = "limits are fixed per protocol";
const RAFT_PROFILE: &str = "consensus.raft.profile sets the timing";
const RAFT_BYTES: &str = "snapshots are taken by size of the log";
const AT_ONCE: &str = "a change of the peer set is noticed at once";
const ALL_TRUSTED: &str = "every peer of a Raft cluster is trusted";
const GOSSIP: &str = "every member is told directly";
const JOIN_ONLY: &str = "peers join with `daemon --bootstrap`";
const NO_JAEGER: &str = "spans are sent over OTLP, to observations.tracing.otlp_endpoint";
const OWN_FILES: &str = "log and state are kept in the folder `state`";

use Kind::{Bool, Duration, Float, Int, Lists, Map, Secret, Secrets, Text, Texts};
use Preset::{Bool as B, Float as F, Int as I, List as L, Map as M, None as N, Text as T};

const CLUSTER: &[Key] = &[
    key("peername", Text, N),
    key("secret", Secret, N),
    key("leave_on_shutdown", Bool, B(false)),
    key("listen_multiaddress", Texts, L(&["/ip4/0.0.0.0/tcp/9096"])),
    key("announce_multiaddress", Texts, L(&[])),
    key("no_announce_multiaddress", Texts, L(&[])),
    without("enable_relay_hop", Bool, NO_RELAY),
    key("dial_peer_timeout", Duration, T("3s")),
    key("state_sync_interval", Duration, T("5m0s")),
    key("pin_recover_interval", Duration, T("12m0s")),
    key("replication_factor_min", Int, I(-1)),
    key("replication_factor_max", Int, I(-1)),
    key("monitor_ping_interval", Duration, T("15s")),
    without("peer_watch_interval", Duration, AT_ONCE),
    key("mdns_interval", Duration, T("10s")),
    without("pin_only_on_trusted_peers", Bool, ALL_TRUSTED),
    without("pin_only_on_untrusted_peers", Bool, ALL_TRUSTED),
    key("disable_repinning", Bool, B(false)),
    hidden("follower_mode", Bool, B(false)),
    hidden("peerstore_file", Text, N),
    key("peer_addresses", Texts, L(&[])),
];

const CONNECTION_MANAGER: &[Key] = &[
    key("high_water", Int, I(400)),
    without("low_water", Int, OWN_LIMITS),
    without("grace_period", Duration, OWN_LIMITS),
];

const RESOURCE_MANAGER: &[Key] = &[
    without("enabled", Bool, OWN_LIMITS),
    without("memory_limit_bytes", Int, OWN_LIMITS),
    without("file_descriptors_limit", Int, OWN_LIMITS),
];

const PUBSUB: &[Key] = &[
    without("seen_messages_ttl", Duration, GOSSIP),
    without("heartbeat_interval", Duration, GOSSIP),
    without("d_factor", Int, GOSSIP),
    without("history_gossip", Int, GOSSIP),
    without("history_length", Int, GOSSIP),
    without("flood_publish", Bool, GOSSIP),
];

const RAFT: &[Key] = &[
    without("init_peerset", Texts, JOIN_ONLY),
    key("wait_for_leader_timeout", Duration, T("15s")),
    without("network_timeout", Duration, RAFT_PROFILE),
    without("commit_retries", Int, RAFT_PROFILE),
    without("commit_retry_delay", Duration, RAFT_PROFILE),
    key("backups_rotate", Int, I(6)),
    without("heartbeat_timeout", Duration, RAFT_PROFILE),
    without("election_timeout", Duration, RAFT_PROFILE),
    without("commit_timeout", Duration, RAFT_PROFILE),
    without("max_append_entries", Int, RAFT_BYTES),
    without("trailing_logs", Int, RAFT_BYTES),
    without("snapshot_interval", Duration, RAFT_BYTES),
    without("snapshot_threshold", Int, RAFT_BYTES),
    without("leader_lease_timeout", Duration, RAFT_PROFILE),
    without("data_folder", Text, OWN_FILES),
    without("datastore_namespace", Text, OWN_FILES),
    key("profile", Text, T("auto")),
];

const REST: &[Key] = &api(&["/ip4/127.0.0.1/tcp/9094"], Use::Written);

/// `init` writes two of them, as the Go program does; the others have the values of the REST API.
const PINNING: &[Key] = &api(&["/ip4/127.0.0.1/tcp/9097"], Use::Hidden);

/// The keys of an API, of which `init` writes `headers` and where it listens, and does `further` with
/// those that both may have.
const fn api(listen: &'static [&'static str], further: Use) -> [Key; 20] {
    let exposed = &[
        "Content-Type",
        "X-Stream-Output",
        "X-Chunked-Output",
        "X-Content-Length",
    ];
    [
        key("http_listen_multiaddress", Texts, L(listen)),
        hidden("ssl_cert_file", Text, N),
        hidden("ssl_key_file", Text, N),
        hidden("libp2p_listen_multiaddress", Texts, L(&[])),
        hidden("id", Text, N),
        hidden("private_key", Secret, N),
        key("read_timeout", Duration, T("0s")).used(further),
        key("read_header_timeout", Duration, T("5s")).used(further),
        key("write_timeout", Duration, T("0s")).used(further),
        key("idle_timeout", Duration, T("2m0s")).used(further),
        key("max_header_bytes", Int, I(4096)).used(further),
        key("basic_auth_credentials", Secrets, N).used(further),
        key("http_log_file", Text, T("")).used(further),
        key("headers", Lists, M(&[])),
        key("cors_allowed_origins", Texts, L(&["*"])).used(further),
        key("cors_allowed_methods", Texts, L(&["GET"])).used(further),
        key("cors_allowed_headers", Texts, L(&[])).used(further),
        key("cors_exposed_headers", Texts, L(exposed)).used(further),
        key("cors_allow_credentials", Bool, B(true)).used(further),
        key("cors_max_age", Duration, T("0s")).used(further),
    ]
}

const PROXY: &[Key] = &[
    key(
        "listen_multiaddress",
        Texts,
        L(&["/ip4/127.0.0.1/tcp/9095"]),
    ),
    key("node_multiaddress", Text, T("/ip4/127.0.0.1/tcp/5001")),
    hidden("node_https", Bool, B(false)),
    key("log_file", Text, T("")),
    key("read_timeout", Duration, T("0s")),
    key("read_header_timeout", Duration, T("5s")),
    key("write_timeout", Duration, T("0s")),
    key("idle_timeout", Duration, T("1m0s")),
    key("max_header_bytes", Int, I(4096)),
    hidden("extract_headers_extra", Texts, L(&[])),
    hidden("extract_headers_path", Text, T("/api/v0/version")),
    hidden("extract_headers_ttl", Duration, T("5m0s")),
];

const IPFS_HTTP: &[Key] = &[
    key("node_multiaddress", Text, T("/ip4/127.0.0.1/tcp/5001")),
    key("connect_swarms_delay", Duration, T("30s")),
    key("ipfs_request_timeout", Duration, T("5m0s")),
    key("pin_timeout", Duration, T("2m0s")),
    key("unpin_timeout", Duration, T("3h0m0s")),
    key("repogc_timeout", Duration, T("24h0m0s")),
    without(
        "informer_trigger_interval",
        Int,
        "metrics are sent by time alone",
    ),
    hidden("unpin_disable", Bool, B(false)),
];

const IPFS_EMBEDDED: &[Key] = &[
    key(
        "swarm_listen_multiaddress",
        Texts,
        L(&["/ip4/0.0.0.0/tcp/4001"]),
    ),
    key("rpc_listen_multiaddress", Texts, L(&[])),
    key("gateway_listen_multiaddress", Texts, L(&[])),
    hidden("gateway_hosts", Texts, L(&["localhost"])),
    key("repo_folder", Text, T("ipfs")),
    key("storage_max_bytes", Int, I(10_000_000_000)),
    key("check_interval", Duration, T("168h0m0s")),
    key("pin_timeout", Duration, T("2m0s")),
    hidden("unpin_disable", Bool, B(false)),
];

const STATELESS: &[Key] = &[
    key("concurrent_pins", Int, I(10)),
    key("priority_pin_max_age", Duration, T("24h0m0s")),
    key("priority_pin_max_retries", Int, I(5)),
    hidden("max_pin_queue_size", Int, I(1_000_000)),
];

const METRICS: &[Key] = &[
    key("enable_stats", Bool, B(false)),
    key(
        "prometheus_endpoint",
        Texts,
        L(&["/ip4/127.0.0.1/tcp/8888"]),
    ),
    without(
        "reporting_interval",
        Duration,
        "metrics are worked out when asked for",
    ),
];

const TRACING: &[Key] = &[
    key("enable_tracing", Bool, B(false)),
    without("jaeger_agent_endpoint", Text, NO_JAEGER),
    key("otlp_endpoint", Text, T("http://127.0.0.1:4318")),
    key("sampling_prob", Float, F(0.3)),
    key("service_name", Text, T("cluster-daemon")),
];

const fn section(
    path: &'static str,
    env: &'static str,
    implied: bool,
    keys: &'static [Key],
) -> Section {
    Section {
        path,
        env,
        implied,
        keys,
    }
}

/// Every section, in the order `init` writes them; a nested one follows the one it is in.
pub(super) const SECTIONS: &[Section] = &[
    section("cluster", "CLUSTER", false, CLUSTER),
    section(
        "cluster.connection_manager",
        "CLUSTER_CONNECTIONMANAGER",
        true,
        CONNECTION_MANAGER,
    ),
    section(
        "cluster.resource_manager",
        "CLUSTER_RESOURCEMANAGER",
        true,
        RESOURCE_MANAGER,
    ),
    section("cluster.pubsub", "CLUSTER_PUBSUB", true, PUBSUB),
    section("consensus.raft", "CLUSTER_RAFT", false, RAFT),
    section("api.ipfsproxy", "CLUSTER_IPFSPROXY", false, PROXY),
    section("api.pinsvcapi", "CLUSTER_PINSVCAPI", false, PINNING),
    section("api.restapi", "CLUSTER_RESTAPI", false, REST),
    section(
        "ipfs_connector.ipfshttp",
        "CLUSTER_IPFSHTTP",
        false,
        IPFS_HTTP,
    ),
    section(
        "ipfs_connector.embedded",
        "CLUSTER_EMBEDDED",
        false,
        IPFS_EMBEDDED,
    ),
    section(
        "pin_tracker.stateless",
        "CLUSTER_STATELESS",
        true,
        STATELESS,
    ),
    section(
        "monitor.pubsubmon",
        "CLUSTER_PUBSUBMON",
        true,
        &[key("check_interval", Duration, T("15s"))],
    ),
    section(
        "allocator.balanced",
        "CLUSTER_BALANCED",
        false,
        &[key("allocate_by", Texts, L(&["tag:group", "freespace"]))],
    ),
    section(
        "informer.disk",
        "CLUSTER_DISK",
        false,
        &[
            key("metric_ttl", Duration, T("30s")),
            key("metric_type", Text, T("freespace")),
        ],
    ),
    section(
        "informer.pinqueue",
        "CLUSTER_PINQUEUE",
        false,
        &[
            key("metric_ttl", Duration, T("30s")),
            key("weight_bucket_size", Int, I(100_000)),
        ],
    ),
    section(
        "informer.tags",
        "CLUSTER_TAGS",
        false,
        &[
            key("metric_ttl", Duration, T("30s")),
            key("tags", Map, M(&[("group", "default")])),
        ],
    ),
    section("observations.metrics", "CLUSTER_METRICS", true, METRICS),
    section("observations.tracing", "CLUSTER_TRACING", true, TRACING),
    section(
        "repair",
        "CLUSTER_REPAIR",
        true,
        &[
            key("grace", Duration, T("5m0s")),
            key("pins_per_second", Float, F(100.0)),
        ],
    ),
];

/// Keys and sections of the Go program that are tolerated whole.
pub(super) const TOLERATED: &[(&str, &str)] = &[
    (
        "consensus.crdt",
        "Raft runs in its place, and trusts every peer that has the secret",
    ),
    ("datastore", OWN_FILES),
    ("informer.numpin", "no such metric"),
];

/// The table's section of this path.
pub(super) fn find(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|s| s.path == path)
}

impl Section {
    /// The table's key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

impl Key {
    /// The same, and what becomes of it.
    const fn used(self, r#use: Use) -> Self {
        Self { r#use, ..self }
    }

    /// The environment variable that sets it in a section with this prefix.
    pub(super) fn variable(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.name.replace('_', "").to_uppercase())
    }

    /// Whether its value must not be shown.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Secret | Secrets)
    }
}
