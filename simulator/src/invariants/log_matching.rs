//! An entry of one index and term is the same in every log, and so are all before it.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::id::LogIndex;

use super::Invariant;
use crate::{observe::Seen, world::HostId};

/// What an entry is: its digest, the term of the one before it where that was seen, and where.
#[derive(Debug, Clone, Copy)]
struct Entry {
    digest: [u8; 8],
    before: Option<u64>,
    peer: HostId,
}

#[derive(Debug, Default)]
pub(super) struct LogMatching {
    entries: BTreeMap<(LogIndex, u64), Entry>,
}

/// Entries kept: an older one is hardly ever looked at again.
const ENTRIES_MAX: usize = 20_000;

impl LogMatching {
    fn compare(&mut self, at: (LogIndex, u64), new: Entry) -> Result<(), String> {
        let known = self.entries.entry(at).or_insert(new);
        let (index, term) = at;
        if known.digest != new.digest {
            return Err(format!(
                "entry {index} of term {term} is not the same at peers {} and {}",
                known.peer, new.peer
            ));
        }
        if let (Some(one), Some(other)) = (known.before, new.before)
            && one != other
        {
            return Err(format!(
                "before entry {index} of term {term} peer {} has one of term {one}, peer {} of {other}",
                known.peer, new.peer
            ));
        }
        known.before = known.before.or(new.before);
        Ok(())
    }
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log-matching"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let Seen::Log { peer, marks, .. } = seen else {
            return Ok(());
        };
        let mut before = None;
        for mark in marks {
            let new = Entry {
                digest: mark.digest,
                before,
                peer: *peer,
            };
            self.compare((mark.index, mark.term), new)?;
            before = Some(mark.term);
        }
        while self.entries.len() > ENTRIES_MAX {
            self.entries.pop_first();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::log;

    #[test]
    fn logs_that_differ_at_one_index_and_term_are_found() {
        let mut invariant = LogMatching::default();
        assert_eq!(invariant.check(&log(1, &[(1, 1, 7), (2, 1, 8)])), Ok(()));
        // Another term at that index is what elections leave behind.
        assert_eq!(invariant.check(&log(2, &[(1, 1, 7), (2, 2, 9)])), Ok(()));
        assert!(invariant.check(&log(3, &[(2, 2, 8)])).is_err());
    }

    #[test]
    fn a_log_with_another_past_is_found() {
        let mut invariant = LogMatching::default();
        assert_eq!(invariant.check(&log(1, &[(1, 1, 7), (2, 3, 8)])), Ok(()));
        assert!(invariant.check(&log(2, &[(1, 2, 6), (2, 3, 8)])).is_err());
    }
}
