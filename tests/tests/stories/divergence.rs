//! A peer's disk loses a row of the state.

use ipfs_cluster_node::{
    env::real,
    storage::{StateStore, StateTuning},
};
use ipfs_cluster_protocol::{id::Cid, state::Table};
use ipfs_cluster_tests::{Cluster, Setup, missing, random};

use crate::{add, tell};

/// Removes the row that leads from a CID to its pin, as a fault of the disk would.
async fn lose(peer: &ipfs_cluster_tests::Peer, cid: &str) {
    let path = peer.folder.join("state/state.redb");
    let key = cid.parse::<Cid>().unwrap().to_bytes();
    let env = real::env();
    let store = StateStore::open(&env, path, StateTuning::default()).await;
    let store = store.unwrap();
    let lost = store.apply(move |job| {
        job.step(|tx, _| {
            assert!(tx.get(Table::Cid, &key)?.is_some(), "it is not pinned");
            tx.delete(Table::Cid, &key)
        })
    });
    lost.await.unwrap();
    store.sync().await.unwrap();
}

#[test]
fn a_peer_whose_state_differs_from_the_majority_stops_and_a_copy_mends_it() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let cid = add(&cluster.peers[0], "", &random(1000)).await;
        cluster.until_status(2, &cid, "pinned", 3).await;
        cluster.peers[2].stop().await;
        lose(&cluster.peers[2], &cid).await;
        cluster.restart(2).await;
        cluster.all_see_each_other().await;

        // Nothing shows until something is decided by that row.
        let path = format!("/pins/{cid}");
        let unpinned = cluster.peers[0].rest("DELETE", &path).await.unwrap();
        assert_eq!(unpinned.status, 200, "{}", unpinned.text());
        assert_eq!(cluster.peers[2].ended().await, Some(1));
        let log = cluster.peers[2].log();
        assert!(
            log.contains("this peer's state differs from that of"),
            "{log}"
        );
        assert!(log.contains("state cleanup"), "{log}");
        assert!(cluster.peers[0].is_running() && cluster.peers[1].is_running());

        // As the text says.
        let cleanup = cluster.peers[2].command(&["state", "cleanup", "--force"]);
        assert!({ cleanup }.output().unwrap().status.success());
        cluster.restart(2).await;
        let cid = missing();
        let pinned = cluster.peers[2].rest("POST", &format!("/pins/{cid}")).await;
        assert_eq!(pinned.unwrap().status, 200);
        cluster.all_see_each_other().await;
    });
}
