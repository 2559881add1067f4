mod files;
mod garbage;

use std::{path::Path, time::Duration};

use ipfs_cluster_protocol::pin::Replication;
use serde_json::{Value, json};

use files::Files;

use super::{
    Ipfs, Profile, Variables,
    init::{InitOptions, IpfsKind, init},
    load,
};
use crate::env::Disk;

const FOLDER: &str = "/cluster";

fn options(ipfs: IpfsKind) -> InitOptions {
    InitOptions {
        ipfs,
        secret: None,
        peers: Vec::new(),
        listen: None,
        source: None,
    }
}

fn vars(pairs: &[(&str, &str)]) -> Variables {
    let own = |&(k, v): &(&str, &str)| (k.to_owned(), v.to_owned());
    pairs.iter().map(own).collect()
}

impl Files {
    /// A folder as `init` leaves it.
    fn fresh() -> Self {
        let files = Self::default();
        init(
            Path::new(FOLDER),
            &files,
            &vars(&[("HOSTNAME", "h")]),
            &options(IpfsKind::Http),
        )
        .unwrap();
        files
    }

    fn text(&self, name: &str) -> String {
        let bytes = (self as &dyn Disk).read(&Path::new(FOLDER).join(name), 1 << 20);
        String::from_utf8(bytes.unwrap()).unwrap()
    }

    fn put(&self, name: &str, text: &str) {
        let path = Path::new(FOLDER).join(name);
        (self as &dyn Disk)
            .write_atomic(&path, text.as_bytes())
            .unwrap();
    }

    /// Sets one value of service.json.
    fn set(&self, pointer: &str, value: Value) {
        let mut json: Value = serde_json::from_str(&self.text("service.json")).unwrap();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        json.pointer_mut(parent).unwrap()[name] = value;
        self.put("service.json", &json.to_string());
    }

    fn load(&self, vars: &Variables) -> Result<super::Loaded, String> {
        load(Path::new(FOLDER), self, vars).map_err(|e| e.to_string())
    }
}

fn none() -> Variables {
    Variables::new()
}

#[test]
fn what_init_writes_is_read_without_a_warning() {
    for kind in [IpfsKind::Http, IpfsKind::Embedded] {
        let files = Files::default();
        let written = init(Path::new(FOLDER), &files, &none(), &options(kind)).unwrap();
        let loaded = files.load(&none()).unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new());
        assert_eq!(loaded.notes, Vec::<String>::new());
        let config = loaded.config;
        assert_eq!(config.identity.peer, written.identity.peer);
        assert_eq!(
            matches!(config.ipfs, Ipfs::Embedded(_)),
            kind == IpfsKind::Embedded
        );
        assert_eq!(config.cluster.replication, Replication::Everywhere);
        assert_eq!(config.repair.grace, Duration::from_secs(300));
        assert_eq!(config.raft.profile, Profile::Auto);
        assert!(!config.cluster.disable_repinning);
        assert!(config.cluster.secret.is_some());
    }
}

#[test]
fn the_secret_is_random_and_hidden() {
    let (a, b) = (Files::fresh(), Files::fresh());
    let secret = |f: &Files| {
        let json: Value = serde_json::from_str(&f.text("service.json")).unwrap();
        json["cluster"]["secret"].as_str().unwrap().to_owned()
    };
    assert_ne!(secret(&a), secret(&b));
    let shown = format!("{:?}", a.load(&none()).unwrap());
    let identity: Value = serde_json::from_str(&a.text("identity.json")).unwrap();
    assert!(!shown.contains(&secret(&a)), "{shown}");
    assert!(!shown.contains(identity["private_key"].as_str().unwrap()));
    assert!(
        identity["private_key"]
            .as_str()
            .unwrap()
            .starts_with("CAES")
    );
}

#[test]
fn a_second_init_keeps_the_identity() {
    let files = Files::fresh();
    let identity = files.text("identity.json");
    let written = init(Path::new(FOLDER), &files, &none(), &options(IpfsKind::Http)).unwrap();
    assert!(!written.new_identity);
    assert_eq!(files.text("identity.json"), identity);
}

#[test]
fn unknown_keys_are_named_by_path() {
    let files = Files::fresh();
    files.set("/cluster/colour", json!("red"));
    files.set("/consensus/raft/speed", json!(1));
    files.set("/extra", json!({}));
    let mut warnings = files.load(&none()).unwrap().warnings;
    warnings.sort();
    assert_eq!(
        warnings,
        [
            "cluster.colour: no such key, ignored",
            "consensus.raft.speed: no such key, ignored",
            "extra: no such key, ignored",
        ]
    );
}

#[test]
fn keys_of_the_go_program_are_noted_with_the_reason() {
    let files = Files::fresh();
    files.set("/cluster/pubsub", json!({"d_factor": 4}));
    files.set("/consensus/raft/heartbeat_timeout", json!("1s"));
    files.set("/datastore", json!({"pebble": {}}));
    files.set("/cluster/disable_repinning", json!(true));
    let loaded = files.load(&none()).unwrap();
    assert_eq!(loaded.notes.len(), 3, "{:?}", loaded.notes);
    assert!(loaded.warnings[0].starts_with("cluster.disable_repinning is true"));
    assert!(loaded.config.cluster.disable_repinning);
}

/// Pointer, value as JSON, what the error must say.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "/cluster/secret",
        r#""abc""#,
        "cluster.secret: the value cannot be used: write 64 hex digits",
    ),
    (
        "/cluster/dial_peer_timeout",
        r#""3 s""#,
        r#"cluster.dial_peer_timeout: "3 s" cannot be used: write a duration"#,
    ),
    (
        "/cluster/dial_peer_timeout",
        "3",
        "cluster.dial_peer_timeout: 3 cannot be used: write a duration",
    ),
    (
        "/cluster/replication_factor_min",
        "3",
        "cluster.replication_factor_min: 3 cannot be used: write two numbers from 1",
    ),
    (
        "/cluster/listen_multiaddress",
        r#"["/ip4/0.0.0.0/udp/9096/quic"]"#,
        "cannot be used: write at least one /ip4/",
    ),
    (
        "/cluster/peer_addresses",
        r#"["/ip4/1.2.3.4/tcp/1"]"#,
        "must end in /p2p/PEER",
    ),
    (
        "/api/restapi/max_header_bytes",
        "100",
        "api.restapi.max_header_bytes: 100 cannot be used: write a whole number from 4096",
    ),
    (
        "/api/restapi/ssl_cert_file",
        r#""c.pem""#,
        "name the key too, or neither",
    ),
    (
        "/consensus/raft/profile",
        r#""fast""#,
        r#"consensus.raft.profile: "fast" cannot be used: write "auto", "local" or "wan""#,
    ),
    ("/consensus/crdt", "{}", "exactly one consensus section"),
    (
        "/ipfs_connector/embedded",
        "{}",
        "exactly one of `ipfshttp`",
    ),
    (
        "/pin_tracker/stateless/concurrent_pins",
        "0",
        "write a whole number from 1",
    ),
    ("/repair/pins_per_second", "0", "write a number above 0"),
    (
        "/api/restapi/libp2p_listen_multiaddress",
        r#""/ip4/127.0.0.1/tcp/1""#,
        r#"api.restapi.id: nothing cannot be used: a libp2p host of the API's own needs"#,
    ),
    (
        "/api/pinsvcapi/private_key",
        r#""CAES""#,
        "api.pinsvcapi.libp2p_listen_multiaddress: nothing cannot be used",
    ),
    (
        "/observations/tracing/sampling_prob",
        "1.5",
        "write a number from 0 to 1",
    ),
    (
        "/observations/tracing/otlp_endpoint",
        r#""localhost:4317""#,
        "observations.tracing.otlp_endpoint: \"localhost:4317\" cannot be used",
    ),
    ("/source", r#""http://x""#, "asked at the start of a daemon"),
];

#[test]
fn a_wrong_value_is_refused_by_key_value_and_remedy() {
    for (pointer, value, expected) in REFUSED {
        let files = Files::fresh();
        files.set(pointer, serde_json::from_str(value).unwrap());
        let error = files.load(&none()).unwrap_err();
        assert!(error.contains(expected), "{pointer}: {error}");
    }
}

#[test]
fn quic_addresses_are_skipped_with_a_warning() {
    let files = Files::fresh();
    files.set(
        "/cluster/listen_multiaddress",
        json!(["/ip4/0.0.0.0/tcp/9096", "/ip4/0.0.0.0/udp/9096/quic-v1"]),
    );
    let loaded = files.load(&none()).unwrap();
    assert_eq!(loaded.config.cluster.listen.len(), 1);
    assert_eq!(
        loaded.warnings,
        ["listen_multiaddress: /ip4/0.0.0.0/udp/9096/quic-v1 is skipped, only TCP is served"]
    );
}

#[test]
fn the_environment_goes_before_the_file() {
    let files = Files::fresh();
    let vars = vars(&[
        ("CLUSTER_PEERNAME", "from-env"),
        ("CLUSTER_REPLICATIONFACTORMIN", "1"),
        ("CLUSTER_REPLICATIONFACTORMAX", "2"),
        (
            "CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS",
            "/ip4/127.0.0.1/tcp/1,/ip4/127.0.0.1/tcp/2",
        ),
        ("CLUSTER_RESTAPI_BASICAUTHCREDENTIALS", "user:pa:ss"),
        ("CLUSTER_TAGS_TAGS", "region:eu,rack:7"),
        ("CLUSTER_CONNECTIONMANAGER_HIGHWATER", "9"),
        ("CLUSTER_REPAIR_GRACE", "10s"),
        (
            "CLUSTER_EMBEDDED_PINTIMEOUT",
            "nonsense of a section that is off",
        ),
    ]);
    let config = files.load(&vars).unwrap().config;
    assert_eq!(config.cluster.peername, "from-env");
    assert_eq!(
        config.cluster.replication,
        Replication::Factor { min: 1, max: 2 }
    );
    let rest = config.rest.unwrap();
    assert_eq!(rest.listen.len(), 2);
    assert_eq!(rest.basic_auth.unwrap()["user"].expose(), "pa:ss");
    assert_eq!(config.informers.tags.unwrap().1.len(), 2);
    assert_eq!(config.cluster.high_water, 9);
    assert_eq!(config.repair.grace, Duration::from_secs(10));
}

#[test]
fn a_wrong_variable_is_refused_by_name_and_a_secret_one_unseen() {
    let files = Files::fresh();
    let error = files
        .load(&vars(&[("CLUSTER_LEAVEONSHUTDOWN", "maybe")]))
        .unwrap_err();
    assert!(
        error.starts_with("CLUSTER_LEAVEONSHUTDOWN: \"maybe\" cannot be used: write true or false"),
        "{error}"
    );
    let error = files
        .load(&vars(&[("CLUSTER_SECRET", "swordfish")]))
        .unwrap_err();
    assert!(
        error.starts_with("cluster.secret (set by CLUSTER_SECRET): the value cannot"),
        "{error}"
    );
}

#[test]
fn init_writes_what_the_environment_says() {
    let files = Files::default();
    let secret = "ab".repeat(32);
    let vars = vars(&[
        ("CLUSTER_SECRET", &secret),
        ("CLUSTER_DISK_METRICTYPE", "reposize"),
    ]);
    init(Path::new(FOLDER), &files, &vars, &options(IpfsKind::Http)).unwrap();
    let json: Value = serde_json::from_str(&files.text("service.json")).unwrap();
    assert_eq!(json["cluster"]["secret"], secret.as_str());
    assert_eq!(json["informer"]["disk"]["metric_type"], "reposize");
}

#[test]
fn an_identity_whose_parts_differ_is_refused() {
    let (a, b) = (Files::fresh(), Files::fresh());
    let key = |f: &Files| -> Value { serde_json::from_str(&f.text("identity.json")).unwrap() };
    let mixed = json!({"id": key(&a)["id"], "private_key": key(&b)["private_key"]});
    a.put("identity.json", &mixed.to_string());
    let error = a.load(&none()).unwrap_err();
    assert!(
        error.contains("does not belong to the private key"),
        "{error}"
    );
    a.put("identity.json", r#"{"id":"x","private_key":7}"#);
    assert!(
        a.load(&none())
            .unwrap_err()
            .contains("restore it from a backup")
    );
    let vars = vars(&[
        ("CLUSTER_ID", key(&b)["id"].as_str().unwrap()),
        (
            "CLUSTER_PRIVATEKEY",
            key(&b)["private_key"].as_str().unwrap(),
        ),
    ]);
    assert_eq!(
        a.load(&vars).unwrap().config.identity.peer.to_string(),
        key(&b)["id"].as_str().unwrap()
    );
}

#[test]
fn a_libp2p_host_of_an_api_has_a_key_of_its_own() {
    let (files, other) = (Files::fresh(), Files::fresh());
    let identity: Value = serde_json::from_str(&other.text("identity.json")).unwrap();
    for section in ["restapi", "pinsvcapi"] {
        files.set(&format!("/api/{section}/id"), identity["id"].clone());
        let key = identity["private_key"].clone();
        files.set(&format!("/api/{section}/private_key"), key);
        let listen = json!(["/ip4/127.0.0.1/tcp/0"]);
        files.set(
            &format!("/api/{section}/libp2p_listen_multiaddress"),
            listen,
        );
    }
    let loaded = files.load(&none()).unwrap();
    assert_eq!(loaded.notes, Vec::<String>::new());
    for server in [loaded.config.rest, loaded.config.pinning] {
        let host = server.unwrap().host.unwrap();
        let id = identity["id"].as_str().unwrap();
        assert_eq!(host.identity.peer.to_string(), id);
        assert_eq!(host.listen.len(), 1);
    }
    let own: Value = serde_json::from_str(&files.text("identity.json")).unwrap();
    files.set("/api/restapi/id", own["id"].clone());
    let error = files.load(&none()).unwrap_err();
    assert!(
        error.contains("does not belong to the private key"),
        "{error}"
    );
}

#[test]
fn a_folder_that_is_not_there_or_not_json_is_named() {
    let files = Files::default();
    assert_eq!(
        files.load(&none()).unwrap_err(),
        "open /cluster/service.json: no such file or directory"
    );
    let files = Files::fresh();
    for text in ["", "[]", "{\"cluster\":", "\u{0}"] {
        files.put("service.json", text);
        assert!(
            files
                .load(&none())
                .unwrap_err()
                .starts_with("/cluster/service.json: ")
        );
    }
}

#[test]
fn a_folder_of_the_go_program_is_read() {
    let files = Files::fresh();
    let key: Value = serde_json::from_str(&files.text("service.json")).unwrap();
    let go = include_str!("testdata/go-1.1.6-raft.json")
        .replace("SECRET", key["cluster"]["secret"].as_str().unwrap());
    files.put("service.json", &go);
    let loaded = files.load(&none()).unwrap();
    assert_eq!(
        loaded.config.raft.wait_for_leader_timeout,
        Duration::from_secs(15)
    );
    assert!(
        loaded.warnings.iter().all(|w| !w.contains("no such key")),
        "{:?}",
        loaded.warnings
    );
}

/// The folder of a Go peer of the other consensus: Raft runs in its place, and the log says so.
#[test]
fn a_folder_of_the_go_programs_other_consensus_is_read() {
    let files = Files::fresh();
    let mut json: Value = serde_json::from_str(&files.text("service.json")).unwrap();
    json["consensus"] = json!({"crdt": {
        "cluster_name": "ipfs-cluster", "trusted_peers": ["*"],
        "batching": {"max_batch_size": 0, "max_batch_age": "0s"}, "repair_interval": "1h0m0s",
    }});
    json["datastore"] = json!({"pebble": {"pebble_options": {}}});
    files.put("service.json", &json.to_string());
    let loaded = files.load(&none()).unwrap();
    assert_eq!(loaded.config.raft.profile, Profile::Auto);
    let said = loaded.notes.iter().any(|n| n.ends_with(": consensus.crdt"));
    assert!(said, "{:?}", loaded.notes);
}

#[test]
fn an_address_is_all_that_init_writes_of_a_configuration_elsewhere() {
    let files = Files::default();
    let elsewhere = |url: &str| InitOptions {
        source: Some(url.to_owned()),
        ..options(IpfsKind::Http)
    };
    let folder = Path::new(FOLDER);
    let bad = init(folder, &files, &none(), &elsewhere("a.example/x")).unwrap_err();
    assert!(bad.to_string().contains("http:// or https://"), "{bad}");
    let url = "https://a.example/service.json";
    init(folder, &files, &none(), &elsewhere(url)).unwrap();
    let written: Value = serde_json::from_str(&files.text("service.json")).unwrap();
    assert_eq!(written, json!({"source": url}));
    let found = super::source::source(folder, &files).unwrap();
    assert_eq!(found.as_deref(), Some(url));
    assert!(files.load(&none()).is_err());
}

#[test]
fn a_fetched_configuration_is_checked_like_a_file_and_leads_nowhere_else() {
    let files = Files::fresh();
    let text = files.text("service.json");
    let fetched = |bytes: &[u8]| {
        let folder = Path::new(FOLDER);
        let url = "https://a.example/service.json";
        super::load_fetched(folder, &files, &none(), (url, bytes)).map_err(|e| e.to_string())
    };
    assert!(fetched(text.as_bytes()).is_ok());
    let chained = fetched(br#"{"source": "https://b.example"}"#).unwrap_err();
    assert!(
        chained.contains("cannot point to another source"),
        "{chained}"
    );
    assert!(
        fetched(b"<html>")
            .unwrap_err()
            .starts_with("https://a.example/service.json: ")
    );
}

impl Files {
    /// Every file of which one bit is flipped, or the end cut off, in turn; what loading says.
    fn each_damage(&self, name: &str, mut see: impl FnMut(usize, Result<super::Loaded, String>)) {
        let good = self.text(name).into_bytes();
        let path = Path::new(FOLDER).join(name);
        let cut = (0..good.len()).map(|len| good[..len].to_vec());
        let flipped = (0..good.len() * 8).map(|bit| {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            bad
        });
        for (n, bad) in cut.chain(flipped).enumerate() {
            (self as &dyn Disk).write_atomic(&path, &bad).unwrap();
            see(n, self.load(&none()));
        }
    }
}

#[test]
fn a_damaged_identity_is_named_or_unchanged() {
    let files = Files::fresh();
    let good = files.load(&none()).unwrap().config.identity;
    let mut refused = 0;
    files.each_damage("identity.json", |n, loaded| match loaded {
        Ok(loaded) => {
            let found = loaded.config.identity;
            assert_eq!(found.peer, good.peer, "{n}");
            let key = found.private_key.expose();
            assert_eq!(key, good.private_key.expose(), "{n}");
        }
        Err(e) => {
            assert!(e.starts_with("/cluster/identity.json: "), "{n}: {e}");
            let remedies = ["restore", "correct"];
            assert!(remedies.iter().any(|r| e.contains(r)), "{n}: {e}");
            refused += 1;
        }
    });
    assert!(refused > 1000, "{refused}");
}

#[test]
fn a_damaged_configuration_is_refused_warned_about_or_still_one() {
    let files = Files::fresh();
    let mut refused = 0;
    files.each_damage("service.json", |n, loaded| match loaded {
        Ok(loaded) => {
            // A key whose name is damaged is told of: it must not quietly be the default.
            let told = loaded.warnings.iter().any(|w| w.contains("no such key"));
            assert!(loaded.config.cluster.secret.is_some() || told, "{n}");
        }
        Err(e) => {
            let (named, _) = e.split_once(": ").unwrap_or_default();
            let key = !named.is_empty() && !named.contains(' ');
            let file = named == "/cluster/service.json";
            assert!(file || key || named.ends_with(')'), "{n}: {e}");
            refused += 1;
        }
    });
    assert!(refused > 1000, "{refused}");
}

#[test]
fn a_node_is_called_over_https_where_that_can_be() {
    let files = Files::fresh();
    let set = |node: &str| {
        vars(&[
            ("CLUSTER_IPFSPROXY_NODEHTTPS", "true"),
            ("CLUSTER_IPFSPROXY_NODEMULTIADDRESS", node),
        ])
    };
    let config = files.load(&set("/dns4/a.example/tcp/443")).unwrap().config;
    assert!(config.proxy.unwrap().node_https);
    let error = files.load(&set("/unix/run/kubo.sock")).unwrap_err();
    assert!(
        error.contains("node_https") && error.contains("unix socket"),
        "{error}"
    );
}
