//! A state that is not what it should be.

use std::time::Duration;

use ipfs_cluster_protocol::{command::Command, state::Table};
use tokio::time::timeout;

use super::cluster::{Bench, PATIENCE, cid, leader, must_pin, propose, soon};
use crate::consensus::{Consensus, Role};

#[tokio::test]
async fn one_whose_state_was_changed_under_it_differs_from_the_others_and_finds_out() {
    let bench = Bench::new();
    let peers = bench.cluster(3).await;
    let done = must_pin(leader(&peers), 1).await;
    for p in &peers {
        p.wait_applied(done.index, soon()).await.unwrap();
    }
    let wrong = peers
        .iter()
        .position(|p| p.status().borrow().role != Role::Leader)
        .unwrap();
    // Its disk loses a row. Nothing shows until an entry is decided by it.
    let lost = peers[wrong].state().apply(|job| {
        let row = cid(1).to_bytes();
        job.step(|tx, _| tx.delete(Table::Cid, &row))
    });
    lost.await.unwrap();
    compare(&peers);
    assert!(outvoted(&peers).await.is_empty());
    let done = propose(leader(&peers), Command::Unpin { cid: cid(1) }).await;
    let done = done.unwrap();
    for p in &peers {
        p.wait_applied(done.index, soon()).await.unwrap();
    }
    let found = async {
        loop {
            compare(&peers);
            let found = outvoted(&peers).await;
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!(timeout(PATIENCE, found).await.unwrap(), [wrong]);
}

/// What gossip does.
fn compare(peers: &[Consensus]) {
    for (from, to) in peers.iter().flat_map(|a| peers.iter().map(move |b| (a, b))) {
        let (who, told) = (from.0.links.local(), from.agreement().statements());
        assert!(!told.is_empty());
        if who != to.0.links.local() {
            to.agreement().heard(who, told);
        }
    }
    for p in peers {
        p.agreement().judge();
    }
}

/// Numbers of those that were told to stop.
async fn outvoted(peers: &[Consensus]) -> Vec<usize> {
    let mut found = Vec::new();
    for (n, p) in peers.iter().enumerate() {
        let told = timeout(Duration::ZERO, p.agreement().outvoted()).await;
        found.extend(told.is_ok().then_some(n));
    }
    found
}
