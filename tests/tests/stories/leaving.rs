//! Peers that stop for good, and peers that stop together.

use std::time::{Duration, Instant};

use futures::future::join_all;
use ipfs_cluster_tests::{Cluster, Peer, Setup, random, until};

use crate::{add, cat, get, tell};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

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
fn a_drain_that_nobody_can_take_over_says_so_until_somebody_can() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let bytes = random(100_000);
        let factors = "replication-min=3&replication-max=3";
        let cid = add(&cluster.peers[0], factors, &bytes).await;
        cluster.until_status(0, &cid, "pinned", 3).await;
        let lead = cluster.leader().await;
        let goes = (lead + 1) % 3;
        let id = cluster.peers[goes].addresses().id.clone();
        let (code, _, error) = cluster.peers[lead].ctl(&["peers", "rm", &id]);
        assert_eq!(code, 0, "{error}");
        let alerts = || async {
            let alerts = get(&cluster.peers[lead], "/health/alerts").await;
            let mut ours = alerts.as_array().unwrap().iter();
            ours.find(|alert| alert["name"] == "repair").cloned()
        };
        let alert = until("an alert", LIMIT, || async { alerts().await.ok_or("none") }).await;
        assert_eq!(alert["peer"], id.as_str(), "{alert}");
        let text = alert["value"].as_str().unwrap();
        assert!(
            text.starts_with("1 pins lack copies") && text.contains(&cid),
            "{text}"
        );
        assert_eq!(get(&cluster.peers[lead], "/repair").await["stuck"], 1);

        // Two copies will do after all: it can go, and there is nothing to tell any more.
        let path = format!("/pins/{cid}?replication-min=2&replication-max=2");
        let answer = cluster.peers[lead].rest("POST", &path).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        until("the alert is over", LIMIT, || async {
            alerts()
                .await
                .map_or(Ok(()), |alert| Err(alert.to_string()))
        })
        .await;
        assert_eq!(cluster.peers[goes].ended().await, Some(0));
        assert!(cat(&cluster.peers[lead], &cid).await == bytes);
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
