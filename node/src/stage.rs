//! How long the stages of a write take: two counters each, cheap enough to be always on.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// One stage, counted where it runs.
#[derive(Debug, Default)]
pub struct Stage {
    nanos: AtomicU64,
    times: AtomicU64,
}

/// A stage at a moment, since the start of the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time in it, in nanoseconds.
    pub nanos: u64,
    /// How often it ran.
    pub times: u64,
}

impl Stage {
    /// Counts one run that began then.
    pub fn ran(&self, begun: Instant) {
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.times.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted up to now.
    pub fn spent(&self) -> Spent {
        Spent {
            nanos: self.nanos.load(Ordering::Relaxed),
            times: self.times.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up() {
        let stage = Stage::default();
        let begun = Instant::now();
        stage.ran(begun);
        stage.ran(begun);
        let spent = stage.spent();
        assert_eq!(spent.times, 2);
        assert!(spent.nanos > 0);
    }
}
