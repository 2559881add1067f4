//! What a peer must refuse, with words that help.

use std::{fs, future::ready, time::Duration};

use ipfs_cluster_tests::{Cluster, Peer, Setup, cluster::SECRET, until};

use crate::{add, alone, tell};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs the daemon, which must end by itself: exit code and stderr.
pub(crate) fn daemon(peer: &Peer, args: &[&str]) -> (Option<i32>, String) {
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
    let mut peer = alone(temp.path());
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
    let peer = alone(temp.path());
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
    for variable in [
        "CLUSTER_LISTENMULTIADDRESS",
        "CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS",
        "CLUSTER_IPFSPROXY_LISTENMULTIADDRESS",
        "CLUSTER_EMBEDDED_SWARMLISTENMULTIADDRESS",
    ] {
        let temp = tempfile::tempdir().unwrap();
        let mut peer = alone(temp.path());
        peer.set(variable, &address);
        let (code, err) = daemon(&peer, &[]);
        assert_eq!(code, Some(1), "{variable}: {err}");
        assert!(err.contains(&port.to_string()), "{variable}: {err}");
        assert!(err.to_lowercase().contains("in use"), "{variable}: {err}");
    }
}

#[test]
fn a_peer_with_another_secret_does_not_get_in() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let temp = tempfile::tempdir().unwrap();
        let mut peer = alone(temp.path());
        peer.set("CLUSTER_SECRET", &"ab".repeat(32));
        let member = cluster.peers[0].addresses().swarm[0].clone();
        let (code, err) = daemon(&peer, &["--bootstrap", &member]);
        assert_eq!(code, Some(1));
        assert!(err.contains("secret"), "{err}");
        let (_, peers, _) = cluster.peers[0].ctl(&["peers", "ls"]);
        assert!(peers.contains("Sees 0 other peers"), "{peers}");
        // It is no half member: with the right secret it joins as if nothing had been.
        peer.set("CLUSTER_SECRET", SECRET);
        peer.spawn(&[member]);
        peer.ready().await;
        // It listens a moment before it has recovered the state, and refuses to read it until then.
        until("both peers to be listed", LIMIT, || {
            let (_, peers, err) = peer.ctl(&["peers", "ls"]);
            let both = peers.contains("Sees 1 other peers");
            ready(both.then_some(()).ok_or(format!("{peers}{err}")))
        })
        .await;
    });
}

#[test]
fn an_odd_configuration_is_warned_about_by_path() {
    let temp = tempfile::tempdir().unwrap();
    let mut peer = alone(temp.path());
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

#[test]
fn secret_and_key_stand_in_no_log_and_no_answer() {
    tell(async {
        let setup = Setup::of(2).with("IPFS_CLUSTER_LOG_LEVEL", "debug");
        let cluster = Cluster::start(setup).await;
        let cid = add(&cluster.peers[0], "", b"hello").await;
        cluster.until_status(1, &cid, "pinned", 2).await;
        for peer in &cluster.peers {
            let identity = fs::read(peer.folder.join("identity.json")).unwrap();
            let identity: serde_json::Value = serde_json::from_slice(&identity).unwrap();
            let key = identity["private_key"].as_str().unwrap();
            let mut texts = vec![("the log", peer.log())];
            for path in [
                "/id",
                "/peers",
                "/metrics",
                "/version",
                "/health/graph",
                "/repair",
            ] {
                let answer = peer.rest("GET", path).await.unwrap();
                assert_eq!(answer.status, 200, "{path}: {answer:?}");
                texts.push((path, answer.text()));
            }
            assert!(
                texts[0].1.contains("\"DEBUG\""),
                "the log is not that of a debug run"
            );
            for (what, text) in texts {
                assert!(!text.contains(SECRET), "the secret stands in {what}");
                assert!(!text.contains(key), "the key stands in {what}");
            }
        }
    });
}
