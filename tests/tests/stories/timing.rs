//! Voters that turn out to be far apart.

use std::time::Duration;

use ipfs_cluster_tests::{Cluster, Setup, Weather, random, until};

use crate::{add, cat, tell};

/// Four round trips of each voter, half a minute, and an election.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn far_voters_change_the_timing_while_the_cluster_runs() {
    tell(async {
        let cluster = Cluster::start(Setup::of(3)).await;
        let (old, new) = (random(100_000), random(100_000));
        let before = add(&cluster.peers[0], "", &old).await;
        for number in 0..3 {
            cluster.weather(number, Weather::Delay(Duration::from_millis(25)));
        }
        for peer in &cluster.peers {
            let what = format!("{} has taken the other timing", peer.name);
            until(&what, LIMIT, || async {
                let answer = peer.rest("GET", "/metrics").await;
                let text = answer.map_err(|e| e.to_string())?.text();
                let wan = "ipfscluster_raft_profile{profile=\"wan\"} 1";
                let seen = text.lines().find(|l| l.contains("raft_profile{"));
                match seen {
                    Some(line) if line == wan => Ok(()),
                    other => Err(other.unwrap_or("no such metric").to_owned()),
                }
            })
            .await;
        }
        let after = add(&cluster.peers[1], "", &new).await;
        cluster.until_status(2, &before, "pinned", 3).await;
        cluster.until_status(0, &after, "pinned", 3).await;
        assert!(cat(&cluster.peers[2], &before).await == old);
        assert!(cat(&cluster.peers[0], &after).await == new);
    });
}
