//! A peer that nobody reaches and that reaches nobody: its side takes no writes and can be read, the
//! majority goes on, and once they reach each other again all agree.

use std::time::{Duration, Instant};

use ipfs_cluster_tests::{Cluster, Setup, Weather, missing, random, until};

use crate::{add, tell};

/// How long the minority's clients wait for their answer.
const WRITE_MAX: Duration = Duration::from_secs(4);
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What the Go program says when nobody leads.
const NO_LEADER: &str = "timed out waiting for leader: context deadline exceeded";

/// Who is cut off.
#[derive(Clone, Copy)]
enum Who {
    Leader,
    Follower,
}

async fn survives(who: Who, weather: Weather) {
    let timeout = format!("{}s", WRITE_MAX.as_secs());
    let setup = Setup::of(3).with("CLUSTER_RAFT_WAITFORLEADERTIMEOUT", &timeout);
    let cluster = Cluster::start(setup).await;
    let leader = cluster.leader().await;
    let lonely = match who {
        Who::Leader => leader,
        Who::Follower => (leader + 1) % 3,
    };
    let other = (lonely + 1) % 3;
    let old = add(&cluster.peers[lonely], "", &random(1000)).await;
    cluster.until_status(lonely, &old, "pinned", 3).await;
    cluster.weather(lonely, weather);
    // The majority goes on.
    let cid = until("a write at the majority", LIMIT, || async {
        let cid = missing();
        let path = format!("/pins/{cid}?replication=1");
        let answer = cluster.peers[other].rest("POST", &path).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status == 200 {
            Ok(cid)
        } else {
            Err(answer.text())
        }
    })
    .await;
    let refused = refused(&cluster, lonely).await;
    reads_go_on(&cluster, lonely, &old, &cid).await;
    // Once they reach each other again, all agree.
    cluster.weather(lonely, Weather::Fair);
    until("the pin at the peer that was cut off", LIMIT, || async {
        let path = format!("/allocations/{cid}");
        let answer = cluster.peers[lonely].rest("GET", &path).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;
    let bytes = random(100_000);
    let added = add(&cluster.peers[lonely], "", &bytes).await;
    cluster.until_status(other, &added, "pinned", 3).await;
    // What was refused as not done was not done.
    let path = format!("/allocations/{refused}?consistency=linearizable");
    let answer = cluster.peers[other].rest("GET", &path).await.unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");
}

/// Writes at a peer that is cut off are refused in time, and with the Go program's words once the
/// peer has noticed; a CID that was refused with them.
async fn refused(cluster: &Cluster, lonely: usize) -> String {
    until("a refusal in the Go program's words", LIMIT, || async {
        let cid = missing();
        let path = format!("/pins/{cid}?replication=1");
        let asked = Instant::now();
        let answer = cluster.peers[lonely].rest("POST", &path).await.unwrap();
        let took = asked.elapsed();
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(took < WRITE_MAX + Duration::from_secs(5), "{took:?}");
        if answer.text().contains(NO_LEADER) {
            Ok(cid)
        } else {
            Err(answer.text())
        }
    })
    .await
}

/// A peer that is cut off shows what it knows, and not what it cannot know.
async fn reads_go_on(cluster: &Cluster, lonely: usize, old: &str, new: &str) {
    let peer = &cluster.peers[lonely];
    for (path, status) in [
        (format!("/allocations/{old}"), 200),
        (format!("/allocations/{new}"), 404),
        (format!("/pins/{old}"), 200),
        ("/pins".to_owned(), 200),
        ("/id".to_owned(), 200),
    ] {
        let answer = peer.rest("GET", &path).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
}

#[test]
fn a_follower_whose_connections_are_cut_finds_back() {
    tell(survives(Who::Follower, Weather::Cut));
}

#[test]
fn a_follower_whose_connections_fall_silent_finds_back() {
    tell(survives(Who::Follower, Weather::Stopped));
}

#[test]
fn a_leader_whose_connections_are_cut_finds_back() {
    tell(survives(Who::Leader, Weather::Cut));
}

#[test]
fn a_leader_whose_connections_fall_silent_finds_back() {
    tell(survives(Who::Leader, Weather::Stopped));
}
