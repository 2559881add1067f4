//! The leader dies while clients write.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ipfs_cluster_tests::{Cluster, Setup, http, until};
use tokio::task::JoinSet;

use crate::{missing, tell};

/// Clients that write at the same time.
const WRITERS: usize = 64;
/// Pins that must have been acknowledged before and after the kill.
const PINS: usize = 100;

/// The number of the peer that says it leads.
async fn leader(cluster: &Cluster) -> usize {
    until("a leader", Duration::from_secs(30), || async {
        for (number, peer) in cluster.peers.iter().enumerate() {
            let metrics = peer
                .rest("GET", "/metrics")
                .await
                .map_err(|e| e.to_string())?;
            let leads = |line: &str| {
                line.starts_with("ipfscluster_raft_role")
                    && line.contains("leader")
                    && line.ends_with(" 1")
            };
            if metrics.text().lines().any(leads) {
                return Ok(number);
            }
        }
        Err("nobody leads".to_owned())
    })
    .await
}

#[test]
fn no_acknowledged_pin_is_lost_or_doubled_when_the_leader_is_killed() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let first = leader(&cluster).await;
        let others: Vec<u16> = (0..3)
            .filter(|n| *n != first)
            .map(|n| cluster.peers[n].rest_port())
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        let mut writers = JoinSet::new();
        for n in 0..WRITERS {
            let (stop, acknowledged, port) = (stop.clone(), acknowledged.clone(), others[n % 2]);
            writers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let cid = missing();
                    let path = format!("/pins/{cid}?replication=1");
                    let answer = http::request(port, "POST", &path);
                    if answer.await.is_ok_and(|a| a.status == 200) {
                        acknowledged.lock().unwrap().insert(cid);
                    }
                }
            });
        }
        let count = || {
            let n = acknowledged.lock().unwrap().len();
            std::future::ready(if n >= PINS { Ok(n) } else { Err(n) })
        };
        let before = until("writes", Duration::from_secs(60), count).await;
        cluster.peers[first].kill();
        until("writes after the kill", Duration::from_secs(60), || {
            let n = acknowledged.lock().unwrap().len();
            std::future::ready(if n >= before + PINS { Ok(()) } else { Err(n) })
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        let acknowledged = acknowledged.lock().unwrap().clone();
        cluster.restart(first).await;
        for peer in &cluster.peers {
            let what = format!("every acknowledged pin once at {}", peer.name);
            until(&what, Duration::from_secs(60), || async {
                let answer = peer
                    .rest("GET", "/allocations")
                    .await
                    .map_err(|e| e.to_string())?;
                let pins = answer.items().map_err(|e| e.to_string())?;
                let cids: Vec<&str> = pins.iter().filter_map(|p| p["cid"].as_str()).collect();
                let set: BTreeSet<&str> = cids.iter().copied().collect();
                assert_eq!(set.len(), cids.len(), "a pin is listed twice");
                let lost = acknowledged
                    .iter()
                    .filter(|c| !set.contains(c.as_str()))
                    .count();
                if lost == 0 {
                    Ok(())
                } else {
                    Err(format!("{lost} of {} missing", acknowledged.len()))
                }
            })
            .await;
        }
    });
}
