//! Peers that come and go.

use ipfs_cluster_tests::{Cluster, Setup};

use crate::{add, cat, random, tell};

#[test]
fn a_fourth_peer_joins_and_gets_what_everyone_has() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let bytes = random(200_000);
        let cid = add(&cluster.peers[0], "", &bytes).await;
        let fourth = cluster.add().await;
        cluster.all_see_each_other().await;
        cluster.until_status(fourth, &cid, "pinned", 4).await;
        assert!(cat(&cluster.peers[fourth], &cid).await == bytes);
    });
}

#[test]
fn a_removed_peer_hands_over_its_pins_and_stops() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(4)).await;
        let bytes = random(200_000);
        let id = cluster.peers[3].addresses().id.clone();
        let query = format!("replication=2&user-allocations={id}");
        let cid = add(&cluster.peers[0], &query, &bytes).await;
        cluster.until_status(0, &cid, "pinned", 2).await;
        let (code, out, err) = cluster.peers[0].ctl(&["peers", "rm", &id]);
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
        assert_eq!(cluster.peers[3].ended().await, Some(0));
        let log = cluster.peers[3].log();
        assert!(log.contains("removed from the cluster"), "{log}");
        assert!(cluster.peers[3].folder.join("state.old.0").exists());
        cluster.until_status(1, &cid, "pinned", 2).await;
        let (_, peers, _) = cluster.peers[1].ctl(&["peers", "ls"]);
        assert!(!peers.contains(&id), "{peers}");
    });
}
