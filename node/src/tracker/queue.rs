//! What waits for the IPFS node: pure, it takes the time as an argument.
//!
//! Two lanes. New work goes first and to all workers; what failed before waits in its own lane,
//! with growing pauses and for a part of the workers only, so that any number of dead CIDs never
//! holds up a live one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ipfs_cluster_protocol::id::Seq;

/// The first pause after a failure, in milliseconds.
const BACKOFF_MIN_MS: u64 = 2_000;
/// The longest.
const BACKOFF_MAX_MS: u64 = 10 * 60_000;

/// Where a job comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// It was not tried yet.
    New,
    /// It failed before.
    Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    New,
    Ready,
    Delayed(u64),
}

/// Jobs by pin: one per pin at most.
#[derive(Debug, Default)]
pub(super) struct Queue {
    new: VecDeque<Seq>,
    ready: VecDeque<Seq>,
    delayed: BTreeSet<(u64, Seq)>,
    places: BTreeMap<Seq, Place>,
}

impl Queue {
    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// New work; what waits for a retry comes forward.
    pub(super) fn push(&mut self, seq: Seq) {
        match self.places.insert(seq, Place::New) {
            Some(Place::New) => {}
            Some(Place::Delayed(at)) => {
                self.delayed.remove(&(at, seq));
                self.new.push_back(seq);
            }
            // The stale entry in `ready` is skipped when its turn comes.
            Some(Place::Ready) | None => self.new.push_back(seq),
        }
    }

    /// Work that failed `attempts` times. `jitter` is from 0 to 1.
    pub(super) fn retry(&mut self, seq: Seq, attempts: u32, now_ms: u64, jitter: f64) {
        if self.places.contains_key(&seq) {
            return;
        }
        let at = now_ms + backoff_ms(attempts, jitter);
        self.delayed.insert((at, seq));
        self.places.insert(seq, Place::Delayed(at));
    }

    /// Nothing is to be done about it any more.
    pub(super) fn remove(&mut self, seq: Seq) {
        if let Some(Place::Delayed(at)) = self.places.remove(&seq) {
            self.delayed.remove(&(at, seq));
        }
    }

    /// The next job. Retries are left alone unless `retries` are allowed.
    pub(super) fn pop(&mut self, now_ms: u64, retries: bool) -> Option<(Seq, Lane)> {
        self.wake(now_ms);
        if let Some(seq) = take(&mut self.new, &mut self.places, Place::New) {
            return Some((seq, Lane::New));
        }
        if retries {
            let seq = take(&mut self.ready, &mut self.places, Place::Ready)?;
            return Some((seq, Lane::Retry));
        }
        None
    }

    /// When the next delayed job is due.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Whether new work waits.
    pub(super) fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    fn wake(&mut self, now_ms: u64) {
        while let Some(&(at, seq)) = self.delayed.first() {
            if at > now_ms {
                return;
            }
            self.delayed.pop_first();
            self.places.insert(seq, Place::Ready);
            self.ready.push_back(seq);
        }
    }
}

fn take(lane: &mut VecDeque<Seq>, places: &mut BTreeMap<Seq, Place>, place: Place) -> Option<Seq> {
    while let Some(seq) = lane.pop_front() {
        if places.get(&seq) == Some(&place) {
            places.remove(&seq);
            return Some(seq);
        }
    }
    None
}

/// Doubles with each failure, within its bounds, half of it random.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "at most ten minutes of milliseconds"
)]
fn backoff_ms(attempts: u32, jitter: f64) -> u64 {
    let doubled = BACKOFF_MIN_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let full = doubled.min(BACKOFF_MAX_MS);
    full / 2 + (full as f64 / 2.0 * jitter.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_work_goes_before_what_failed() {
        let mut queue = Queue::default();
        queue.retry(Seq(1), 1, 0, 1.0);
        assert_eq!(queue.pop(1_000, true), None);
        queue.push(Seq(2));
        assert_eq!(queue.pop(2_000, true), Some((Seq(2), Lane::New)));
        assert_eq!(queue.pop(2_000, false), None);
        assert_eq!(queue.pop(2_000, true), Some((Seq(1), Lane::Retry)));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_pin_waits_once_and_comes_forward() {
        let mut queue = Queue::default();
        queue.retry(Seq(1), 3, 0, 0.0);
        queue.push(Seq(1));
        queue.push(Seq(1));
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.pop(0, false), Some((Seq(1), Lane::New)));
        assert_eq!(queue.pop(u64::MAX, true), None);
        queue.push(Seq(2));
        queue.remove(Seq(2));
        assert_eq!(queue.pop(0, true), None);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert_eq!(backoff_ms(1, 1.0), BACKOFF_MIN_MS);
        assert!(backoff_ms(2, 0.0) >= backoff_ms(1, 1.0));
        assert_eq!(backoff_ms(u32::MAX, 1.0), BACKOFF_MAX_MS);
    }
}
