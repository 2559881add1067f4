//! The order of work, in a world of its own where time is a number.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::id::Seq;

use crate::tracker::queue::{Busy, Kind, Lane, Queue, backoff_ms, patience};

const WORKERS: usize = 10;

fn idle() -> Busy {
    Busy::default()
}

#[test]
fn what_failed_waits_and_never_takes_more_than_half() {
    let mut queue = Queue::new(100);
    queue.retry(Seq(1), Kind::New, 1, 0, 1.0);
    queue.retry(Seq(2), Kind::New, 1, 0, 1.0);
    assert_eq!(queue.pop(1_000, &idle(), 2), None);
    queue.push(Seq(3), Kind::New);
    assert_eq!(queue.pop(2_000, &idle(), 2), Some((Seq(3), Lane::Oldest)));
    assert_eq!(queue.pop(2_000, &idle(), 2), Some((Seq(1), Lane::Retry)));
    let half = Busy::of([Lane::Retry].into_iter());
    assert_eq!(queue.pop(2_000, &half, 2), None);
    assert_eq!(queue.len(), 1);
}

#[test]
fn after_waking_nothing_is_overdue() {
    let mut queue = Queue::new(100);
    queue.retry(Seq(1), Kind::New, 1, 0, 0.0);
    queue.retry(Seq(2), Kind::New, 5, 0, 0.0);
    queue.wake(1_000);
    assert!(queue.next_due_ms().unwrap() > 1_000);
    assert_eq!((queue.pressing(), queue.len()), (1, 2));
    let all = Busy::of([Lane::Oldest; WORKERS].into_iter());
    assert_eq!(queue.pop(1_000, &all, WORKERS), None);
}

#[test]
fn unpins_have_workers_of_their_own() {
    let mut queue = Queue::new(100);
    queue.push(Seq(1), Kind::Unpin);
    let all = Busy::of([Lane::Oldest; WORKERS].into_iter());
    assert_eq!(queue.pop(0, &all, WORKERS), Some((Seq(1), Lane::Unpin)));
    queue.push(Seq(2), Kind::Unpin);
    let unpins = Busy::of([Lane::Unpin; WORKERS / 2].into_iter());
    assert_eq!(queue.pop(0, &unpins, WORKERS), None);
    queue.retry(Seq(3), Kind::Unpin, 1, 0, 0.0);
    queue.remove(Seq(2));
    assert_eq!(queue.pop(9_000, &all, WORKERS), Some((Seq(3), Lane::Unpin)));
}

#[test]
fn a_pin_waits_once_and_comes_forward() {
    let mut queue = Queue::new(100);
    queue.retry(Seq(1), Kind::New, 3, 0, 0.0);
    queue.push(Seq(1), Kind::New);
    queue.push(Seq(1), Kind::New);
    queue.push(Seq(1), Kind::Unpin);
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.pop(0, &idle(), 1), Some((Seq(1), Lane::Unpin)));
    assert_eq!(queue.pop(u64::MAX, &idle(), 1), None);
    queue.push(Seq(2), Kind::Repair);
    queue.remove(Seq(2));
    assert_eq!(queue.pop(0, &idle(), 1), None);
}

#[test]
fn new_work_takes_the_room_of_the_last_retry() {
    let mut queue = Queue::new(2);
    queue.retry(Seq(1), Kind::New, 1, 0, 0.0);
    queue.retry(Seq(2), Kind::New, 9, 0, 0.0);
    assert_eq!(queue.push(Seq(3), Kind::New), Some(Seq(2)));
    assert_eq!(queue.push(Seq(4), Kind::New), Some(Seq(1)));
    assert_eq!(queue.push(Seq(5), Kind::New), Some(Seq(5)));
    assert_eq!(queue.len(), 2);
}

#[test]
fn pauses_and_patience_stay_bounded() {
    assert_eq!(backoff_ms(1, 1.0), 2_000);
    assert!(backoff_ms(2, 0.0) >= backoff_ms(1, 1.0));
    assert_eq!(backoff_ms(u32::MAX, 1.0), 600_000);
    assert_eq!(patience(0, WORKERS, 0).as_secs(), 20);
    assert_eq!(patience(100_000, WORKERS, 0).as_secs(), 1);
    assert_eq!(patience(100_000, WORKERS, 5).as_secs(), 32);
    assert!(patience(usize::MAX, usize::MAX, u32::MAX).as_secs() < 6 * 3600);
}

/// Seqs from here on are dead.
const DEAD: u64 = 1_000_000;

/// Milliseconds until the last live one of `order` is pinned, when a live one takes `live_ms`.
fn until_all_live(order: impl Iterator<Item = u64>, kind: Kind, live_ms: u64) -> u64 {
    let mut queue = Queue::new(1_000_000);
    let mut left = 0;
    for seq in order {
        left += usize::from(seq < DEAD);
        queue.push(Seq(seq), kind);
    }
    let mut running: BTreeSet<(u64, Seq, Lane)> = BTreeSet::new();
    let mut attempts: BTreeMap<Seq, u32> = BTreeMap::new();
    let mut now = 0;
    while left > 0 {
        let busy = Busy::of(running.iter().map(|(_, _, lane)| *lane));
        if let Some((seq, lane)) = queue.pop(now, &busy, WORKERS) {
            let tried = attempts.get(&seq).copied().unwrap_or(0);
            let dead = patience(queue.pressing(), WORKERS, tried).as_millis() as u64;
            let takes = if seq.0 < DEAD { live_ms } else { dead };
            running.insert((now + takes, seq, lane));
            continue;
        }
        let next = running.first().map(|(at, _, _)| *at);
        let due = queue.next_due_ms();
        now = next
            .into_iter()
            .chain(due)
            .min()
            .expect("something goes on");
        while let Some(&(at, seq, lane)) = running.first()
            && at <= now
        {
            running.pop_first();
            queue.learn(lane, seq.0 < DEAD);
            if seq.0 < DEAD {
                left -= 1;
            } else {
                let tried = attempts.entry(seq).or_default();
                *tried += 1;
                queue.retry(seq, Kind::New, *tried, now, (seq.0 % 10) as f64 / 10.0);
            }
        }
    }
    now
}

#[test]
fn a_hundred_thousand_dead_cids_do_not_hold_up_the_live_ones() {
    let dead = DEAD..DEAD + 100_000;
    for live_ms in [200, 1_000, 5_000] {
        let alone = until_all_live(0..1_000, Kind::New, live_ms);
        let after = until_all_live(dead.clone().chain(0..1_000), Kind::New, live_ms);
        let before = until_all_live((0..1_000).chain(dead.clone()), Kind::New, live_ms);
        assert!(after <= 2 * alone, "{after} ms instead of {alone} ms");
        assert!(before <= 2 * alone, "{before} ms instead of {alone} ms");
    }
    // In between, nothing tells them apart: one short try of each.
    let amid = dead.clone().take(50_000).chain(0..1_000);
    let amid = until_all_live(amid.chain(dead.skip(50_000)), Kind::New, 1_000);
    let tries = 100_000 * 1_000 / (WORKERS as u64 - 2);
    assert!(amid <= 2 * 100_000 + tries, "{amid} ms");
}

#[test]
fn old_dead_cids_hold_up_neither_new_nor_old_ones() {
    let order = (DEAD..DEAD + 100_000).chain(0..1_000);
    let alone = until_all_live(0..1_000, Kind::Backlog, 1_000);
    let after = until_all_live(order.clone(), Kind::Backlog, 1_000);
    assert!(after <= 3 * alone, "{after} ms instead of {alone} ms");
    let mut queue = Queue::new(1_000_000);
    for seq in order {
        let kind = if seq < DEAD { Kind::New } else { Kind::Backlog };
        queue.push(Seq(seq), kind);
    }
    let first: Vec<Lane> = {
        let mut lanes = Vec::new();
        while let Some((_, lane)) = queue.pop(0, &Busy::of(lanes.iter().copied()), WORKERS) {
            lanes.push(lane);
        }
        lanes
    };
    let old = first.iter().filter(|lane| **lane == Lane::Backlog);
    assert_eq!((first.len(), old.count()), (WORKERS, 1));
}

#[test]
fn a_repair_is_begun_at_once_whatever_else_waits() {
    for workers in [1, 2, WORKERS] {
        let mut queue = Queue::new(1_000_000);
        for seq in DEAD..DEAD + 1_000 {
            queue.push(Seq(seq), Kind::New);
            queue.push(Seq(seq + 10_000), Kind::Backlog);
            queue.retry(Seq(seq + 20_000), Kind::New, 1, 0, 0.0);
        }
        queue.push(Seq(1), Kind::Repair);
        let mut lanes = Vec::new();
        let begun = (0..13).find(|_| {
            // With few workers it is their time that is shared out: each ends at once.
            let running: &[Lane] = if workers < 4 { &[] } else { &lanes };
            let busy = Busy::of(running.iter().copied());
            let (seq, lane) = queue.pop(9_000, &busy, workers).unwrap();
            lanes.push(lane);
            seq == Seq(1)
        });
        let soon = if workers < 4 { 12 } else { 0 };
        assert!(begun.is_some_and(|n| n <= soon), "{workers}: {lanes:?}");
    }
}

#[test]
fn few_workers_give_each_lane_its_turn() {
    let mut queue = Queue::new(1_000_000);
    for seq in 0..1_000 {
        queue.push(Seq(seq), Kind::New);
        queue.push(Seq(seq + 10_000), Kind::Repair);
        queue.push(Seq(seq + 20_000), Kind::Backlog);
        queue.retry(Seq(seq + 30_000), Kind::New, 1, 0, 0.0);
    }
    let mut turns: BTreeMap<Lane, usize> = BTreeMap::new();
    for _ in 0..120 {
        let (_, lane) = queue.pop(9_000, &idle(), 1).unwrap();
        *turns.entry(lane).or_default() += 1;
    }
    for lane in [Lane::Repair, Lane::Backlog, Lane::Retry] {
        assert_eq!(turns.get(&lane), Some(&10), "{turns:?}");
    }
}
