//! The Rust client and the command line, over HTTP and libp2p.

use std::process::Command;

use ipfs_cluster_tests::{
    Cluster, Setup, binary,
    cluster::{SECRET, free_port},
};
use serde_json::{Value, json};

use crate::{alone, tell};

#[test]
fn the_documented_example_runs() {
    tell(async {
        let cluster = Cluster::start(Setup::of(2)).await;
        let host = &cluster.peers[0].addresses().rest[0];
        let output = Command::new(binary::example("pin_and_wait"))
            .args([host, "text"])
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(out.matches(" pinned at peer").count(), 2, "{out}");
    });
}

#[test]
fn the_api_is_reached_inside_the_swarm_with_the_secret_alone() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let peer = cluster.peers[0].addresses();
        let run = |secret: &[&str], command: &[&str]| {
            let mut ctl = Command::new(binary::ctl());
            ctl.env_clear()
                .args(["--host", &peer.swarm[0]])
                .args(secret)
                .args(command);
            let output = ctl.output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (
                output.status.code(),
                text(&output.stdout),
                text(&output.stderr),
            )
        };
        let (code, out, err) = run(&["--secret", SECRET], &["id"]);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.starts_with(&peer.id), "{out}");
        let (code, out, _) = run(
            &["--secret", SECRET],
            &[
                "pin",
                "rm",
                "QmazuPJPW7GJSLGnJgVTNFUyEXRVng9tk5SF9AHJdyXWmi",
            ],
        );
        assert_eq!(code, Some(2), "{out}");
        let (code, out, _) = run(&[], &["id"]);
        assert_eq!(code, Some(1));
        assert!(
            out.contains("failed to negotiate security protocol"),
            "{out}"
        );
        let wrong = "00".repeat(32);
        let (code, out, _) = run(&["--secret", &wrong], &["id"]);
        assert_eq!(code, Some(1));
        assert!(
            out.contains("failed to negotiate security protocol"),
            "{out}"
        );
    });
}

#[test]
fn each_api_can_have_a_libp2p_host_of_its_own() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let mut peer = alone(&folder.path().join("peer"));
        let mut hosts = Vec::new();
        for section in ["restapi", "pinsvcapi"] {
            // Whose key it is does not matter, only that it is not the cluster's.
            let other = alone(&folder.path().join(section));
            let identity = std::fs::read(other.folder.join("identity.json")).unwrap();
            let identity: Value = serde_json::from_slice(&identity).unwrap();
            let listen = format!("/ip4/127.0.0.1/tcp/{}", free_port());
            hosts.push(format!("{listen}/p2p/{}", identity["id"].as_str().unwrap()));
            peer.edit(|config| {
                let api = &mut config["api"][section];
                api["id"] = identity["id"].clone();
                api["private_key"] = identity["private_key"].clone();
                api["libp2p_listen_multiaddress"] = listen.into();
            });
        }
        peer.edit(|config| {
            config["api"]["restapi"]["basic_auth_credentials"] = json!({"alice": "pw"});
        });
        peer.spawn(&[]);
        peer.ready().await;
        // Neither needs the secret; users are asked for there too.
        let alice = ["--basic-auth", "alice:pw"];
        let (code, out, err) = binary::run_ctl(&hosts[0], &[&alice[..], &["id"]].concat());
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.starts_with(&peer.addresses().id), "{out}");
        let (code, out, _) = binary::run_ctl(&hosts[0], &["id"]);
        assert_eq!(code, 2, "{out}");
        assert!(out.contains("Code: 401"), "{out}");
        let (code, out, _) = binary::run_ctl(&hosts[1], &["id"]);
        assert_eq!(code, 2, "{out}");
        assert!(out.contains("Code: 404"), "{out}");
        assert_eq!(peer.stop().await, Some(0));
    });
}
