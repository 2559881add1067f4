//! What becomes of pins, whatever the IPFS node does meanwhile.

use std::time::Duration;

use ipfs_cluster_protocol::{
    command::{Command, IfRev},
    pin::{PinPhase, PinSpec, Replication},
};
use tokio::time::Instant;

use super::peer::{Peer, cid, member};
use crate::tracker::Counted;

#[tokio::test(start_paused = true)]
async fn a_pin_is_pinned_and_an_unpin_is_reported() {
    let mut peer = Peer::start().await;
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    assert!(peer.node.holds(cid(1)));
    assert_eq!(peer.node.fetches(cid(1)), 1);
    let seq = peer.seq(1).await;
    peer.unpin(1).await;
    peer.report().await;
    assert!(!peer.node.holds(cid(1)));
    assert_eq!(peer.node.unpinned(), [cid(1)]);
    let cleared = || peer.tables.read_own(|own| own.content().get(seq).is_none());
    peer.until(cleared).await;
    peer.until(|| peer.tracker.load().queued == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_node_counted_is_told_where_nobody_knew() {
    let mut peer = Peer::start().await;
    let mut known = PinSpec::new(cid(1), Replication::new(1, 1).unwrap());
    known.size = 5;
    for n in [1, 2] {
        peer.node.set_slow(cid(n), Duration::from_secs(3));
    }
    peer.pin_as(known, IfRev::Any).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    peer.pin(2).await;
    peer.until_phase(2, PinPhase::Pinned).await;
    let (seq, bytes) = (peer.seq(2).await, 3000);
    assert_eq!(peer.counted.try_recv().unwrap(), Counted { seq, bytes });
    assert!(peer.counted.try_recv().is_err(), "nor twice");
}

#[tokio::test(start_paused = true)]
async fn a_failing_pin_is_retried_until_it_works() {
    let mut peer = Peer::start().await;
    peer.node.set_refused(cid(1), true);
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::PinError).await;
    peer.until(|| peer.node.fetches(cid(1)) >= 5).await;
    peer.node.set_refused(cid(1), false);
    peer.until_phase(1, PinPhase::Pinned).await;
}

#[tokio::test(start_paused = true)]
async fn a_pin_that_was_ordered_anew_is_not_kept_waiting_for_how_it_failed_before() {
    let mut peer = Peer::start().await;
    peer.node.set_refused(cid(1), true);
    peer.pin(1).await;
    peer.until(|| peer.node.fetches(cid(1)) >= 9).await;
    peer.until_phase(1, PinPhase::PinError).await;
    let mut renamed = PinSpec::new(cid(1), Replication::new(1, 1).unwrap());
    renamed.name = "again".into();
    peer.pin_as(renamed, IfRev::Any).await;
    peer.until(|| peer.node.fetches(cid(1)) >= 10).await;
    peer.node.set_refused(cid(1), false);
    let before = Instant::now();
    peer.until_phase(1, PinPhase::Pinned).await;
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn recover_tries_what_failed_at_once() {
    let mut peer = Peer::start().await;
    for n in 1..=3 {
        peer.node.set_refused(cid(n), n < 3);
        peer.pin(n).await;
    }
    peer.until(|| peer.node.fetches(cid(1)) >= 9 && peer.node.fetches(cid(2)) >= 9)
        .await;
    peer.until_phase(1, PinPhase::PinError).await;
    peer.until_phase(2, PinPhase::PinError).await;
    peer.node.set_refused(cid(1), false);
    let before = Instant::now();
    assert!(peer.tracker.recover(cid(1)).await);
    peer.until_phase(1, PinPhase::Pinned).await;
    assert!(!peer.tracker.recover(cid(3)).await, "nothing failed there");
    peer.node.set_refused(cid(2), false);
    assert_eq!(peer.tracker.recover_all().await, [cid(2)]);
    peer.until_phase(2, PinPhase::Pinned).await;
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_allocation_that_moved_away_is_let_go() {
    let mut peer = Peer::start().await;
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    let seq = peer.seq(1).await;
    let (if_rev, other) = (peer.state.position().rev, vec![member(2)]);
    peer.commit(Command::Place {
        seq,
        if_rev,
        allocations: other.clone(),
        confirmed: other,
    })
    .await;
    peer.report().await;
    assert!(!peer.node.holds(cid(1)));
}

#[tokio::test(start_paused = true)]
async fn the_node_goes_and_comes_back() {
    let mut peer = Peer::start().await;
    peer.node.set_down(true);
    for n in 1..=20 {
        peer.pin(n).await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let asked = peer.node.calls();
    assert!(asked < 2_000, "{asked} calls to a node that is down");
    peer.node.set_down(false);
    let up = Instant::now();
    for n in 1..=20 {
        peer.until_phase(n, PinPhase::Pinned).await;
    }
    assert!(up.elapsed() < Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_unpinned_is_pinned_again() {
    let mut peer = Peer::start().await;
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    peer.node.user_unpins(cid(1));
    peer.until(|| peer.node.fetches(cid(1)) == 2).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    assert!(peer.node.holds(cid(1)));
}

#[tokio::test(start_paused = true)]
async fn walks_and_new_metadata_leave_a_fetch_alone() {
    let mut peer = Peer::start().await;
    peer.node.set_slow(cid(1), Duration::from_secs(1800));
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::Pinning).await;
    // The tracker walks each minute.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let mut spec = PinSpec::new(cid(1), Replication::new(1, 1).unwrap());
    spec.metadata.insert("key".into(), "value".into());
    peer.pin_as(spec, IfRev::Any).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    assert_eq!(peer.node.fetches(cid(1)), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unpin_ends_a_fetch() {
    let mut peer = Peer::start().await;
    peer.node.set_slow(cid(1), Duration::from_secs(36_000));
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::Pinning).await;
    let before = Instant::now();
    peer.unpin(1).await;
    peer.report().await;
    assert!(before.elapsed() < Duration::from_secs(1));
    peer.until(|| peer.tracker.load() == crate::tracker::handle::Load::default())
        .await;
    assert!(!peer.node.holds(cid(1)));
}

#[tokio::test(start_paused = true)]
async fn a_report_is_made_until_it_is_applied() {
    let mut peer = Peer::start().await;
    peer.pin(1).await;
    peer.until_phase(1, PinPhase::Pinned).await;
    peer.unpin(1).await;
    let first = peer.gone.recv().await.unwrap();
    let second = peer.gone.recv().await.unwrap();
    assert_eq!(first.seq, second.seq);
    peer.report().await;
    assert_eq!(peer.node.unpinned(), [cid(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_worker_and_a_retry_that_is_due_leave_the_loop_asleep() {
    let mut peer = Peer::start().await;
    peer.workers = 1;
    peer.restart();
    peer.node.set_refused(cid(2), true);
    peer.pin(2).await;
    peer.until_phase(2, PinPhase::PinError).await;
    peer.node.set_slow(cid(1), Duration::from_secs(7200));
    peer.pin(1).await;
    // A loop that never sleeps would keep the paused clock from moving.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(peer.phase(1).await, Some(PinPhase::Pinning));
    peer.until_phase(1, PinPhase::Pinned).await;
    peer.node.set_refused(cid(2), false);
    peer.until_phase(2, PinPhase::Pinned).await;
}

#[tokio::test(start_paused = true)]
async fn dead_cids_do_not_hold_up_a_live_one() {
    let mut peer = Peer::start().await;
    for n in 1..=200 {
        peer.node.set_dead(cid(n));
        peer.pin(n).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = Instant::now();
    peer.pin(201).await;
    peer.until_phase(201, PinPhase::Pinned).await;
    assert!(before.elapsed() < Duration::from_secs(10));
    peer.until_phase(1, PinPhase::PinError).await;
}
