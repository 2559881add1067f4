//! A peer that nobody reaches and that reaches nobody.

use std::time::Duration;

use ipfs_cluster_tests::{Cluster, Setup, Weather, until};

use crate::{add, missing, random, tell};

async fn survives(weather: Weather) {
    let cluster = Cluster::start(Setup::of(3)).await;
    cluster.weather(2, weather);
    // The majority goes on.
    let cid = until(
        "a write at the majority",
        Duration::from_secs(30),
        || async {
            let cid = missing();
            let path = format!("/pins/{cid}?replication=1");
            let answer = cluster.peers[0]
                .rest("POST", &path)
                .await
                .map_err(|e| e.to_string())?;
            if answer.status == 200 {
                Ok(cid)
            } else {
                Err(answer.text())
            }
        },
    )
    .await;
    // The other side does not know of it, and takes no writes.
    let path = format!("/pins/{}?replication=1", missing());
    let refused = cluster.peers[2].rest("POST", &path).await.unwrap();
    assert!(refused.status >= 500, "{refused:?}");
    let known = cluster.peers[2]
        .rest("GET", &format!("/allocations/{cid}"))
        .await
        .unwrap();
    assert_eq!(known.status, 404, "{known:?}");
    // Once they reach each other again, all agree.
    cluster.weather(2, Weather::Fair);
    until(
        "the pin at the peer that was cut off",
        Duration::from_secs(60),
        || async {
            let path = format!("/allocations/{cid}");
            let answer = cluster.peers[2]
                .rest("GET", &path)
                .await
                .map_err(|e| e.to_string())?;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(answer.text())
            }
        },
    )
    .await;
    let bytes = random(100_000);
    let cid = add(&cluster.peers[2], "", &bytes).await;
    cluster.until_status(0, &cid, "pinned", 3).await;
}

#[test]
fn a_peer_whose_connections_are_cut_finds_back() {
    tell(survives(Weather::Cut));
}

#[test]
fn a_peer_whose_connections_fall_silent_finds_back() {
    tell(survives(Weather::Stopped));
}
