//! Peers that stop for good, and peers that stop together.

use std::time::{Duration, Instant};

use futures::future::join_all;
use ipfs_cluster_tests::{Cluster, Peer, Setup, random};

use crate::{add, cat, tell};

/// A peer of a cluster takes itself out when it stops.
fn leaving(peers: usize) -> Setup {
    Setup::of(peers).with("CLUSTER_LEAVEONSHUTDOWN", "true")
}

#[test]
fn peers_leave_one_after_the_other_and_the_last_one_stays() {
    tell(async {
        let mut cluster = Cluster::start(leaving(3)).await;
        let bytes = random(200_000);
        let cid = add(&cluster.peers[0], "", &bytes).await;
        cluster.until_status(0, &cid, "pinned", 3).await;
        for n in [2, 1] {
            let id = cluster.peers[n].addresses().id.clone();
            assert_eq!(cluster.peers[n].stop().await, Some(0));
            let log = cluster.peers[n].log();
            assert!(log.contains("left the cluster"), "{log}");
            assert!(cluster.peers[n].folder.join("state.old.0").exists());
            let (_, peers, _) = cluster.peers[0].ctl(&["peers", "ls"]);
            assert!(!peers.contains(&id), "{peers}");
        }
        // Nothing was waited for, and nobody is missed.
        let more = add(&cluster.peers[0], "", &random(1000)).await;
        cluster.until_status(0, &more, "pinned", 1).await;
        assert_eq!(cluster.peers[0].stop().await, Some(0));
        let log = cluster.peers[0].log();
        assert!(log.contains("it is the last peer of its cluster"), "{log}");
        cluster.restart(0).await;
        cluster.until_status(0, &cid, "pinned", 1).await;
        assert!(cat(&cluster.peers[0], &cid).await == bytes);
    });
}

#[test]
fn a_peer_that_cannot_leave_for_want_of_a_quorum_stops_nevertheless() {
    tell(async {
        let mut cluster = Cluster::start(leaving(3)).await;
        cluster.peers[1].kill();
        cluster.peers[2].kill();
        let started = Instant::now();
        assert_eq!(cluster.peers[0].stop().await, Some(0));
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}");
        let log = cluster.peers[0].log();
        assert!(
            log.contains("this peer could not leave the cluster"),
            "{log}"
        );
        assert!(!cluster.peers[0].folder.join("state.old.0").exists());
    });
}

#[test]
fn a_whole_cluster_stops_in_a_few_seconds() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let started = Instant::now();
        let codes = join_all(cluster.peers.iter_mut().map(Peer::stop)).await;
        let took = started.elapsed();
        assert_eq!(codes, [Some(0); 3]);
        assert!(took < Duration::from_secs(5), "{took:?}");
        cluster.restart_all().await;
        cluster.all_see_each_other().await;
    });
}
