//! When to dial a peer again that should be connected and is not.

use std::{collections::BTreeMap, time::Duration};

use libp2p::PeerId;
use tokio::time::Instant;

/// Wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Wait after many failures.
const LAST_WAIT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy)]
struct Attempts {
    failures: u32,
    next: Instant,
}

/// The schedule. It holds only peers that failed; the others are due.
#[derive(Debug, Default)]
pub(super) struct Reconnect(BTreeMap<PeerId, Attempts>);

impl Reconnect {
    pub(super) fn is_due(&self, peer: &PeerId, now: Instant) -> bool {
        self.0.get(peer).is_none_or(|a| a.next <= now)
    }

    /// `jitter` in 0..1 spreads peers that failed together.
    pub(super) fn failed(&mut self, peer: PeerId, now: Instant, jitter: f64) {
        let entry = self.0.entry(peer).or_insert(Attempts {
            failures: 0,
            next: now,
        });
        let wait = FIRST_WAIT
            .saturating_mul(1 << entry.failures.min(10))
            .min(LAST_WAIT);
        entry.failures = entry.failures.saturating_add(1);
        entry.next = now + wait.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0));
    }

    /// The peer is connected, or there is news of where it is.
    pub(super) fn reset(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// Forgets the others.
    pub(super) fn retain(&mut self, wanted: impl Fn(&PeerId) -> bool) {
        self.0.retain(|peer, _| wanted(peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_its_bound_and_news_ends_it() {
        let (mut schedule, peer, now) = (Reconnect::default(), PeerId::random(), Instant::now());
        assert!(schedule.is_due(&peer, now));
        schedule.failed(peer, now, 0.5);
        assert!(!schedule.is_due(&peer, now));
        assert!(schedule.is_due(&peer, now + FIRST_WAIT));
        for _ in 0..40 {
            schedule.failed(peer, now, 1.0);
        }
        assert!(!schedule.is_due(&peer, now + LAST_WAIT));
        assert!(schedule.is_due(&peer, now + LAST_WAIT * 2));
        schedule.reset(&peer);
        assert!(schedule.is_due(&peer, now));
    }
}
