//! The Rust client and the command line, over HTTP and libp2p.

use std::process::Command;

use ipfs_cluster_tests::{Cluster, Setup, binary, cluster::SECRET};

use crate::tell;

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
