//! Peers that come and go.

use std::time::Duration;

use ipfs_cluster_tests::{Cluster, Setup, missing, random, until};

use crate::{add, cat, tell};

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

#[test]
fn a_drain_shows_what_is_left_and_ends_when_nothing_is() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(4)).await;
        let id = cluster.peers[3].addresses().id.clone();
        // Content that exists nowhere can be safe nowhere else.
        let cid = missing();
        let path = format!("/pins/{cid}?replication=1&user-allocations={id}");
        let answer = cluster.peers[0].rest("POST", &path).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let path = format!("/peers/{id}");
        let answer = cluster.peers[0].rest("DELETE", &path).await.unwrap();
        assert_eq!((answer.status, answer.text()), (204, String::new()));
        until("the drain is shown", Duration::from_secs(30), || async {
            let (_, peers, _) = cluster.peers[1].ctl(&["peers", "ls"]);
            let mut lines = peers.lines().filter(|l| l.starts_with(&id));
            if lines.any(|l| l.contains("Leaving, 1 pins to go")) {
                Ok(())
            } else {
                Err(peers)
            }
        })
        .await;
        assert!(cluster.peers[3].is_running());
        let answer = cluster.peers[0]
            .rest("DELETE", &format!("/pins/{cid}"))
            .await;
        assert_eq!(answer.unwrap().status, 200);
        assert_eq!(cluster.peers[3].ended().await, Some(0));
        let (_, peers, _) = cluster.peers[1].ctl(&["peers", "ls"]);
        assert!(!peers.contains(&id), "{peers}");
    });
}

#[test]
fn without_a_drain_a_peer_goes_at_once_and_its_pins_are_made_up_for() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(4)).await;
        let id = cluster.peers[3].addresses().id.clone();
        let bytes = random(200_000);
        let query = format!("replication=2&user-allocations={id}");
        let cid = add(&cluster.peers[0], &query, &bytes).await;
        cluster.until_status(0, &cid, "pinned", 2).await;
        let path = format!("/peers/{id}?drain=false");
        let answer = cluster.peers[0].rest("DELETE", &path).await.unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(cluster.peers[3].ended().await, Some(0));
        assert!(cluster.peers[3].log().contains("removed from the cluster"));
        let info = cluster.until_status(1, &cid, "pinned", 2).await;
        let list = info["allocations"].as_array().unwrap();
        assert!(!list.iter().any(|peer| *peer == *id), "{info}");
        // With its state aside it is a peer like any other, and may join again.
        cluster.restart(3).await;
        cluster.all_see_each_other().await;
    });
}
