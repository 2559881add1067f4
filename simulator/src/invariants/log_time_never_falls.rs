//! The time that entries carry never falls, whatever wall clocks do.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{id::LogIndex, time::Timestamp};

use super::Invariant;
use crate::observe::Seen;

#[derive(Debug, Default)]
pub(super) struct LogTimeNeverFalls {
    /// Log time at an entry.
    times: BTreeMap<LogIndex, Timestamp>,
}

impl Invariant for LogTimeNeverFalls {
    fn name(&self) -> &'static str {
        "log-time-never-falls"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let Seen::State { peer, view, .. } = seen else {
            return Ok(());
        };
        let system = &view.system;
        let (index, at) = (system.index, system.at);
        let before = self.times.range(..index).next_back();
        let after = self.times.range(index..).next();
        if before.is_some_and(|(_, time)| *time > at) || after.is_some_and(|(_, time)| *time < at) {
            return Err(format!(
                "peer {peer} has {at:?} at entry {index}, between {before:?} and {after:?}"
            ));
        }
        self.times.insert(index, at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::state;

    #[test]
    fn time_that_falls_from_entry_to_entry_is_found() {
        let seen = |index, at| {
            state(1, 0, |view| {
                view.system.index = LogIndex(index);
                view.system.at = Timestamp(at);
            })
        };
        let mut invariant = LogTimeNeverFalls::default();
        for (index, at) in [(1, 10), (5, 20), (3, 15), (5, 20), (3, 15)] {
            assert_eq!(invariant.check(&seen(index, at)), Ok(()));
        }
        assert!(invariant.check(&seen(4, 21)).is_err());
        assert!(invariant.check(&seen(9, 19)).is_err());
    }
}
