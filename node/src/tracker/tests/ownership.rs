//! Whose pin it is: only what the cluster put on the IPFS node is ever removed, and a death of the
//! process at any moment changes nothing about it.

use std::time::Duration;

use ipfs_cluster_protocol::pin::PinPhase;

use super::peer::{Peer, cid};

#[tokio::test(start_paused = true)]
async fn a_foreign_pin_survives_pin_restart_and_unpin() {
    for restart in [false, true] {
        let mut peer = Peer::start().await;
        peer.node.user_pins(cid(1));
        peer.pin(1).await;
        peer.until_phase(1, PinPhase::Pinned).await;
        if restart {
            peer.restart();
            peer.until_phase(1, PinPhase::Pinned).await;
        }
        peer.unpin(1).await;
        peer.report().await;
        assert!(peer.node.holds(cid(1)));
        assert!(peer.node.unpinned().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_ledger_the_tracker_removes_nothing() {
    let mut peer = Peer::start().await;
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    peer.stop();
    let ledger = peer.dir.path().join("ledger");
    crate::env::real::env().disk.remove_file(&ledger).unwrap();
    peer.restart();
    peer.until_phase(1, PinPhase::Pinned).await;
    peer.unpin(1).await;
    peer.report().await;
    assert!(peer.node.holds(cid(1)));
}

#[tokio::test(start_paused = true)]
async fn what_a_user_pins_after_the_unpin_is_the_users() {
    for restart in [false, true] {
        let mut peer = Peer::start().await;
        peer.pin(1).await;
        peer.until_phase(1, PinPhase::Pinned).await;
        peer.unpin(1).await;
        // The report gets lost.
        peer.gone.recv().await.unwrap();
        peer.node.user_pins(cid(1));
        if restart {
            peer.restart();
        }
        peer.report().await;
        assert!(peer.node.holds(cid(1)));
        assert_eq!(peer.node.unpinned(), [cid(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_user_pins_after_the_cluster_failed_to_is_the_users() {
    let mut peer = Peer::start().await;
    peer.node.set_refused(cid(1), true);
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::PinError).await;
    peer.node.user_pins(cid(1));
    peer.until_phase(1, PinPhase::Pinned).await;
    peer.unpin(1).await;
    peer.report().await;
    assert!(peer.node.holds(cid(1)));
}

#[tokio::test(start_paused = true)]
async fn a_pin_and_its_unpin_survive_a_death_at_any_moment() {
    for moment in 0..12 {
        let mut peer = Peer::start().await;
        peer.node.set_slow(cid(1), Duration::from_secs(2));
        let die_after = |peer: &Peer| peer.node.calls() + moment;
        let calls = die_after(&peer);
        peer.pin(1).await;
        until_calls(&peer, calls).await;
        peer.restart();
        peer.until_phase(1, PinPhase::Pinned).await;
        assert!(peer.node.holds(cid(1)));

        let calls = die_after(&peer);
        peer.unpin(1).await;
        until_calls(&peer, calls).await;
        peer.restart();
        peer.report().await;
        assert!(!peer.node.holds(cid(1)), "left behind, death {moment}");
    }
}

/// Waits until the node was called so often, with small steps of the clock in between.
async fn until_calls(peer: &Peer, calls: usize) {
    // With nothing left to do, the tracker still lists the node's pins each minute.
    while peer.node.calls() < calls {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
