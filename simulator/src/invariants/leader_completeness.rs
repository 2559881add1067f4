//! What was committed in a term is in the log of every leader of a later one, and stays committed.
//! What a peer has applied was committed; what it believes of its leader's log may not be its own.

use std::collections::BTreeMap;

use ipfs_cluster_node::consensus::Role;
use ipfs_cluster_protocol::id::LogIndex;

use super::Invariant;
use crate::{observe::Seen, world::HostId};

/// An entry that somebody knew to be committed.
#[derive(Debug, Clone, Copy)]
struct Committed {
    term: u64,
    /// The lowest term in which a peer knew it.
    known_in: u64,
    peer: HostId,
}

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    committed: BTreeMap<LogIndex, Committed>,
}

/// Entries kept.
const ENTRIES_MAX: usize = 20_000;

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader-completeness"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let Seen::Log {
            peer,
            status,
            marks,
        } = seen
        else {
            return Ok(());
        };
        for mark in marks.iter().filter(|mark| mark.index <= status.applied) {
            let new = Committed {
                term: mark.term,
                known_in: status.term,
                peer: *peer,
            };
            let known = self.committed.entry(mark.index).or_insert(new);
            if known.term != mark.term {
                return Err(format!(
                    "entry {} was committed as one of term {} at peer {} and of term {} at peer {peer}",
                    mark.index, known.term, known.peer, mark.term
                ));
            }
            known.known_in = known.known_in.min(status.term);
        }
        while self.committed.len() > ENTRIES_MAX {
            self.committed.pop_first();
        }
        if status.role != Role::Leader {
            return Ok(());
        }
        let Some(seen) = marks.last().map(|mark| mark.index) else {
            return Ok(());
        };
        // The marks are a stretch of the log; it may go on behind them.
        let end = seen.max(status.last_index);
        let beyond = self.committed.range(LogIndex(end.0 + 1)..);
        let mut lacking = beyond.filter(|(_, entry)| entry.known_in < status.term);
        match lacking.next() {
            None => Ok(()),
            Some((index, entry)) => Err(format!(
                "peer {peer} leads in term {} with a log up to {end}; entry {index} was committed in term {} at peer {}",
                status.term, entry.known_in, entry.peer
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::log;

    fn seen(peer: HostId, role: Role, term: u64, committed: u64, marks: &[(u64, u64, u8)]) -> Seen {
        let mut seen = log(peer, marks);
        if let Seen::Log { status, .. } = &mut seen {
            status.role = role;
            status.term = term;
            status.applied = LogIndex(committed);
        }
        seen
    }

    #[test]
    fn a_leader_without_a_committed_entry_is_found() {
        let mut invariant = LeaderCompleteness::default();
        let all = [(1, 1, 7), (2, 1, 8)];
        let old = seen(1, Role::Leader, 1, 2, &all);
        assert_eq!(invariant.check(&old), Ok(()));
        // A deposed leader that does not know it yet may lack what came later.
        let behind = seen(3, Role::Leader, 1, 1, &all[..1]);
        assert_eq!(invariant.check(&behind), Ok(()));
        let new = seen(2, Role::Leader, 2, 1, &all[..1]);
        assert!(invariant.check(&new).is_err());
    }

    #[test]
    fn a_log_goes_on_behind_the_marks_that_were_seen() {
        let mut invariant = LeaderCompleteness::default();
        let all = [(1, 1, 7), (2, 1, 8)];
        let old = seen(1, Role::Leader, 1, 2, &all);
        assert_eq!(invariant.check(&old), Ok(()));
        let mut new = seen(2, Role::Leader, 2, 1, &all[..1]);
        if let Seen::Log { status, .. } = &mut new {
            status.last_index = LogIndex(2);
        }
        assert_eq!(invariant.check(&new), Ok(()));
    }

    #[test]
    fn a_committed_entry_that_is_replaced_is_found() {
        let mut invariant = LeaderCompleteness::default();
        let first = seen(1, Role::Follower, 1, 1, &[(1, 1, 7)]);
        assert_eq!(invariant.check(&first), Ok(()));
        let other = seen(2, Role::Follower, 3, 1, &[(1, 2, 7)]);
        assert!(invariant.check(&other).is_err());
    }
}
