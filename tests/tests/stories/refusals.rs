//! What a peer must refuse, with words that help.

use std::{fs, path::Path};

use ipfs_cluster_tests::{Cluster, Peer, Setup};

use crate::tell;

/// Variables of a peer that takes no fixed port and looks for nobody.
pub(crate) fn alone() -> Vec<(String, String)> {
    vec![
        ("CLUSTER_PEERNAME".to_owned(), "p".to_owned()),
        (
            "CLUSTER_LISTENMULTIADDRESS".to_owned(),
            "/ip4/127.0.0.1/tcp/0".to_owned(),
        ),
        (
            "CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS".to_owned(),
            "/ip4/127.0.0.1/tcp/0".to_owned(),
        ),
        (
            "CLUSTER_IPFSPROXY_LISTENMULTIADDRESS".to_owned(),
            "/ip4/127.0.0.1/tcp/0".to_owned(),
        ),
        (
            "CLUSTER_EMBEDDED_SWARMLISTENMULTIADDRESS".to_owned(),
            "/ip4/127.0.0.1/tcp/0".to_owned(),
        ),
        (
            "CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS".to_owned(),
            "/ip4/127.0.0.1/tcp/0".to_owned(),
        ),
        ("CLUSTER_MDNSINTERVAL".to_owned(), "0s".to_owned()),
    ]
}

fn init(folder: &Path) -> Peer {
    Peer::init("p", folder, alone())
}

/// Runs the daemon, which must end by itself: exit code and stderr.
fn daemon(peer: &Peer, args: &[&str]) -> (Option<i32>, String) {
    let args = [&["daemon"], args].concat();
    let output = peer.command(&args).output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_bad_secret_is_named_and_not_shown() {
    let temp = tempfile::tempdir().unwrap();
    let mut peer = init(temp.path());
    peer.set("CLUSTER_SECRET", "swordfish");
    let (code, err) = daemon(&peer, &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("cluster.secret (set by CLUSTER_SECRET)"),
        "{err}"
    );
    assert!(
        err.contains("64 hex digits") && !err.contains("swordfish"),
        "{err}"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let peer = init(temp.path());
    fs::remove_file(temp.path().join("service.json")).unwrap();
    let (code, err) = daemon(&peer, &[]);
    let file = temp.path().join("service.json");
    let expected = format!(
        "error loading configurations: open {}: no such file or directory\n",
        file.display()
    );
    assert_eq!((code, err), (Some(1), expected));
}

#[test]
fn a_second_process_in_the_folder_is_refused() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let (code, err) = daemon(&cluster.peers[0], &[]);
        assert_eq!(code, Some(1));
        assert!(
            err.contains("error obtaining execution lock: lock"),
            "{err}"
        );
        assert!(err.contains("someone else has the lock"), "{err}");
    });
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let temp = tempfile::tempdir().unwrap();
    let mut peer = init(temp.path());
    peer.set("CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS", &address);
    let (code, err) = daemon(&peer, &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains(&port.to_string()), "{err}");
}

#[test]
fn a_peer_with_another_secret_does_not_get_in() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let temp = tempfile::tempdir().unwrap();
        let mut peer = init(temp.path());
        peer.set("CLUSTER_SECRET", &"ab".repeat(32));
        let member = cluster.peers[0].addresses().swarm[0].clone();
        let (code, err) = daemon(&peer, &["--bootstrap", &member]);
        assert_eq!(code, Some(1));
        assert!(err.contains("secret"), "{err}");
        let (_, peers, _) = cluster.peers[0].ctl(&["peers", "ls"]);
        assert!(peers.contains("Sees 0 other peers"), "{peers}");
    });
}

#[test]
fn an_odd_configuration_is_warned_about_by_path() {
    let temp = tempfile::tempdir().unwrap();
    let mut peer = init(temp.path());
    let path = temp.path().join("service.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replacen('{', "{\"colour\": 1,", 1);
    fs::write(&path, text).unwrap();
    // Something else ends it, after the warning.
    peer.set(
        "CLUSTER_IPFSPROXY_LISTENMULTIADDRESS",
        "/ip4/192.0.2.1/tcp/1",
    );
    let (code, err) = daemon(&peer, &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("colour: no such key, ignored"), "{err}");
}
