//! Two peers that have applied the same entries have the same state, by its rolling hash.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::id::LogIndex;

use super::Invariant;
use crate::{observe::Seen, world::HostId};

#[derive(Debug, Default)]
pub(super) struct EqualState {
    /// The hash at an entry, and where it was seen first.
    hashes: BTreeMap<LogIndex, (u64, HostId)>,
}

impl Invariant for EqualState {
    fn name(&self) -> &'static str {
        "equal-state"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let Seen::State { peer, view, .. } = seen else {
            return Ok(());
        };
        let system = &view.system;
        let first = self
            .hashes
            .entry(system.index)
            .or_insert((system.hash, *peer));
        if first.0 == system.hash {
            Ok(())
        } else {
            Err(format!(
                "at entry {} peer {} has state {:016x} and peer {peer} {:016x}",
                system.index, first.1, first.0, system.hash
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::state;

    #[test]
    fn states_that_differ_at_one_entry_are_found() {
        let seen = |peer, index, hash| {
            state(peer, 0, |view| {
                view.system.index = LogIndex(index);
                view.system.hash = hash;
            })
        };
        let mut invariant = EqualState::default();
        for (peer, index, hash) in [(1, 1, 7), (2, 1, 7), (1, 2, 8)] {
            assert_eq!(invariant.check(&seen(peer, index, hash)), Ok(()));
        }
        assert!(invariant.check(&seen(2, 2, 7)).is_err());
    }
}
