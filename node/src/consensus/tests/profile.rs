//! Another timing, while the peers run.

use super::cluster::{Bench, is_pinned, leader, must_pin, soon, wait};
use crate::consensus::Profile;

#[tokio::test]
async fn the_timing_changes_while_the_peers_run_and_nothing_is_lost() {
    let bench = Bench::new();
    let peers = bench.cluster(3).await;
    let before = must_pin(leader(&peers), 1).await;
    for (profile, n) in [(Profile::Wan, 2), (Profile::Local, 3)] {
        for p in &peers {
            p.change_profile(profile).await.unwrap();
            wait(p, |s| s.leader.is_some() && s.profile == profile).await;
            assert!(!p.status().borrow().recovering);
        }
        // The lead may have been handed over once more meanwhile.
        let mut done = None;
        while done.is_none() {
            for p in &peers {
                wait(p, |s| s.leader.is_some()).await;
            }
            let leads = |p: &&crate::consensus::Consensus| {
                p.status().borrow().role == crate::consensus::Role::Leader
            };
            if let Some(lead) = peers.iter().find(leads) {
                done = Some(must_pin(lead, n).await);
            }
            tokio::task::yield_now().await;
        }
        for p in &peers {
            p.wait_applied(done.as_ref().unwrap().index, soon())
                .await
                .unwrap();
            assert!(is_pinned(p, 1).await && is_pinned(p, n).await);
        }
    }
    for p in &peers {
        p.wait_applied(before.index, soon()).await.unwrap();
        p.shutdown().await;
    }
}
