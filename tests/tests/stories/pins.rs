//! What a pin goes through.

use ipfs_cluster_tests::{Cluster, Setup, random};

use crate::{add, cat, tell};

/// Bytes of the large file.
const LARGE: usize = 100_000_000;

#[test]
fn a_large_file_added_at_one_peer_is_the_same_at_every_peer() {
    tell(async {
        let cluster = Cluster::start(Setup::of(3)).await;
        let bytes = random(LARGE);
        let cid = add(&cluster.peers[0], "", &bytes).await;
        cluster.until_status(2, &cid, "pinned", 3).await;
        for peer in &cluster.peers {
            assert!(
                cat(peer, &cid).await == bytes,
                "{} has other bytes",
                peer.name
            );
        }
    });
}

#[test]
fn a_pin_is_made_shown_and_removed_through_the_command_line() {
    tell(async {
        let cluster = Cluster::start(Setup::of(3)).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), random(300_000)).unwrap();
        let path = file.path().to_str().unwrap();
        let peer = &cluster.peers[1];
        let (code, out, err) =
            peer.ctl(&["add", "--quieter", "--replication", "2", "--wait", path]);
        assert_eq!(code, 0, "{out}{err}");
        let cid = out.trim();
        let (_, status, _) = cluster.peers[2].ctl(&["status", cid]);
        assert_eq!(status.matches(": PINNED |").count(), 2, "{status}");
        assert_eq!(status.matches(": REMOTE |").count(), 1, "{status}");
        let (_, list, _) = cluster.peers[0].ctl(&["pin", "ls", cid]);
        assert!(list.contains("| PIN | Repl. Factor: 2--2 |"), "{list}");
        let (code, out, err) = cluster.peers[0].ctl(&["pin", "rm", "--wait", cid]);
        assert_eq!(code, 0, "{out}{err}");
        let (code, out, _) = cluster.peers[2].ctl(&["pin", "ls", cid]);
        assert_eq!(code, 2);
        assert_eq!(
            out,
            "An error occurred:\n  Code: 404\n  Message: pin is not part of the pinset\n"
        );
    });
}

#[test]
fn a_running_and_a_stopped_peer_export_the_same_pins() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(1)).await;
        let mut cids: Vec<String> = Vec::new();
        for n in 0..3 {
            cids.push(add(&cluster.peers[0], &format!("name=n{n}"), &random(1000)).await);
        }
        let export = |cluster: &Cluster| {
            let output = cluster.peers[0]
                .command(&["state", "export"])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let running = export(&cluster);
        assert_eq!(running.len(), 3, "{running:?}");
        assert_eq!(cluster.peers[0].stop().await, Some(0));
        assert_eq!(export(&cluster), running);
        for cid in cids {
            assert!(running.iter().any(|line| line.contains(&cid)), "{cid}");
        }
    });
}
