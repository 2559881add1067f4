//! Links that are slow, narrow or break all the time.

use std::{collections::BTreeSet, time::Duration};

use ipfs_cluster_tests::{Cluster, Setup, Weather, missing, random, until};

use crate::{add, cat, tell};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Pins something that exists nowhere, again and again until a peer takes it; the CID.
async fn write(cluster: &Cluster, number: usize) -> String {
    let what = format!("a write at {}", cluster.peers[number].name);
    until(&what, LIMIT, || async {
        let cid = missing();
        let path = format!("/pins/{cid}?replication=1");
        let answer = cluster.peers[number].rest("POST", &path).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status == 200 {
            Ok(cid)
        } else {
            Err(answer.text())
        }
    })
    .await
}

/// Waits until every peer has every one of these pins.
async fn all_have(cluster: &Cluster, cids: &BTreeSet<String>) {
    for peer in &cluster.peers {
        let what = format!("every acknowledged pin at {}", peer.name);
        until(&what, LIMIT, || async {
            let answer = peer.rest("GET", "/allocations").await;
            let pins = answer.and_then(|a| a.items()).map_err(|e| e.to_string())?;
            let known: BTreeSet<&str> = pins.iter().filter_map(|p| p["cid"].as_str()).collect();
            let lacks = cids.iter().filter(|c| !known.contains(c.as_str())).count();
            if lacks == 0 {
                Ok(())
            } else {
                Err(format!("{lacks} of {} missing", cids.len()))
            }
        })
        .await;
    }
}

#[test]
fn over_slow_and_narrow_links_everything_takes_longer_and_nothing_is_lost() {
    tell(async {
        let cluster = Cluster::start(Setup::of(3)).await;
        cluster.weather(1, Weather::Delay(Duration::from_millis(100)));
        cluster.weather(2, Weather::Throttle(200_000));
        let mut cids = BTreeSet::new();
        for round in 0..12 {
            cids.insert(write(&cluster, round % 3).await);
        }
        let bytes = random(500_000);
        let added = add(&cluster.peers[2], "", &bytes).await;
        cluster.until_status(0, &added, "pinned", 3).await;
        assert!(cat(&cluster.peers[1], &added).await == bytes);
        all_have(&cluster, &cids).await;
    });
}

#[test]
fn connections_that_are_reset_all_the_time_lose_nothing() {
    tell(async {
        let cluster = Cluster::start(Setup::of(3)).await;
        let mut cids = BTreeSet::new();
        for round in 0..9 {
            let broken = round % 3;
            cluster.weather(broken, Weather::Cut);
            cids.insert(write(&cluster, (broken + 1) % 3).await);
            cluster.weather(broken, Weather::Fair);
            cids.insert(write(&cluster, broken).await);
        }
        all_have(&cluster, &cids).await;
        let bytes = random(200_000);
        let added = add(&cluster.peers[0], "", &bytes).await;
        cluster.until_status(2, &added, "pinned", 3).await;
    });
}
