//! Copies that are lost with a peer are made again elsewhere, and not before it is time.

use std::time::{Duration, Instant, SystemTime};

use ipfs_cluster_tests::{Cluster, Dev, Setup, http, random, throughout, until, until_status};
use serde_json::Value;

use crate::{add, get, tell};

/// How long a dead peer's pins stay where they are.
const GRACE: Duration = Duration::from_secs(10);
/// How long the copies may take once the grace is over.
const COPIED: Duration = Duration::from_secs(10);
/// How long a death may take to be noticed. Generous: the machine may be busy.
const NOTICED: Duration = Duration::from_secs(30);

/// The peers that a status names as allocated, sorted.
fn allocations(info: &Value) -> Vec<String> {
    let list = info["allocations"].as_array().unwrap();
    let mut ids: Vec<String> = list.iter().map(|id| id.as_str().unwrap().into()).collect();
    ids.sort();
    ids
}

async fn status(rest: u16, cid: &str) -> Value {
    let answer = http::request(rest, "GET", &format!("/pins/{cid}")).await;
    answer.unwrap().json().unwrap()
}

/// What the cluster says of a peer that is down: the entry in `GET /repair`.
async fn noticed(rest: u16, id: &str) -> Value {
    until("the death is noticed", NOTICED, || async {
        let answer = http::request(rest, "GET", "/repair").await;
        let repair: Value = answer.and_then(|a| a.json()).map_err(|e| e.to_string())?;
        let peers = repair["peers"].as_array().ok_or(repair.to_string())?;
        let found = peers.iter().find(|p| p["peer"] == id).cloned();
        found.ok_or(repair.to_string())
    })
    .await
}

#[test]
fn copies_of_a_killed_peer_are_made_again_within_ten_seconds_of_the_grace() {
    let dev = Dev::start(&["--processes", "--repair-grace", "10s"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes = random(300_000);
    std::fs::write(file.path(), &bytes).unwrap();
    let path = file.path().to_str().unwrap();
    let added = dev.peers[0].ctl(&["add", "--quieter", "--replication", "2", path]);
    let (0, out, _) = &added else {
        panic!("{added:?}");
    };
    let cid = out.trim();
    tell(async {
        let info = until_status(dev.peers[0].rest_port(), cid, "pinned", 2).await;
        until_status(dev.peers[0].rest_port(), cid, "remote", 1).await;
        let before = allocations(&info);
        let holds = |n: &usize| before.contains(&dev.peers[*n].id);
        let dead = (0..3).rev().find(holds).unwrap();
        let third = (0..3).find(|n| !holds(n)).unwrap();
        let rest = dev.peers[(dead + 1) % 3].rest_port();
        let killed = Instant::now();
        dev.kill_peer(dead);
        noticed(rest, &dev.peers[dead].id).await;
        let (seen, third_id) = (Instant::now(), &dev.peers[third].id);
        let limit = GRACE + COPIED;
        until("pinned on two again", limit, || async {
            let info = status(rest, cid).await;
            let moved = allocations(&info) != before;
            assert!(
                !moved || killed.elapsed() >= GRACE,
                "moved too early: {info}"
            );
            let pinned = |p: &&Value| p["status"] == "pinned";
            let peers = info["peer_map"].as_object().unwrap();
            let new = peers.get(third_id).filter(pinned);
            if new.is_some() && peers.values().filter(pinned).count() == 2 {
                Ok(())
            } else {
                Err(info.to_string())
            }
        })
        .await;
        println!("repaired {:?} after it was noticed", seen.elapsed());
        let path = format!("/api/v0/cat?arg={cid}");
        let read = http::request(dev.peers[third].proxy_port(), "POST", &path).await;
        assert!(read.unwrap().body == bytes, "other bytes at the new holder");
    });
}

#[test]
fn a_peer_that_comes_back_within_the_grace_moves_nothing() {
    tell(async {
        let setup = Setup::of(3).with("CLUSTER_REPAIR_GRACE", "15s");
        let mut cluster = Cluster::start(setup).await;
        let cid = add(&cluster.peers[0], "replication=2", &random(200_000)).await;
        let before = allocations(&cluster.until_status(0, &cid, "pinned", 2).await);
        let holds = |n: &usize| before.contains(&cluster.peers[*n].addresses().id);
        let dead = (0..3).rev().find(holds).unwrap();
        let (id, alive) = (cluster.peers[dead].addresses().id.clone(), (dead + 1) % 3);
        cluster.peers[dead].kill();
        let entry = noticed(cluster.peers[alive].rest_port(), &id).await;
        assert_eq!(entry["state"], "grace", "{entry}");
        let since = SystemTime::now();
        cluster.restart(dead).await;
        until("the peer counts as back", NOTICED, || async {
            let repair = get(&cluster.peers[alive], "/repair").await;
            let none = repair["peers"].as_array().is_some_and(Vec::is_empty);
            if none {
                Ok(())
            } else {
                Err(repair.to_string())
            }
        })
        .await;
        // Until after the time at which its pins would have been moved.
        let left = Duration::from_secs(18).saturating_sub(since.elapsed().unwrap());
        throughout("nothing moves", left, || async {
            let repair = get(&cluster.peers[alive], "/repair").await;
            let info = status(cluster.peers[alive].rest_port(), &cid).await;
            if repair["moved"] == 0 && allocations(&info) == before {
                Ok(())
            } else {
                Err(format!("{repair} {info}"))
            }
        })
        .await;
        cluster.until_status(alive, &cid, "pinned", 2).await;
    });
}
