//! Do the members' states agree? Each tells the rolling hash of its state now and then; one that
//! differs from a majority at the same entry of the log finds out, and must stop.
//!
//! Peers are never at the same entry at the same moment, so each remembers its hashes for a while
//! and tells two of them: at its newest entry, which settles quiet times, and at the last multiple
//! of [`MARK_EVERY`], which peers under load have in common.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    id::{LogIndex, PeerId},
    limits::{WITNESS_ENTRIES_MAX, WITNESS_STATEMENTS_MAX},
};

/// Between two entries at which all peers under load can be compared.
const MARK_EVERY: u64 = 1024;

/// What a state was after an entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// After this entry.
    #[serde(rename = "i")]
    pub index: LogIndex,
    /// The rolling hash of all that was written.
    #[serde(rename = "h")]
    pub hash: u64,
}

/// A majority of the members has another state at the same entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this peer's state differs from that of {} at entry {index} of the log (its hash is {ours:016x}, \
     theirs {theirs:016x}): its disk or its memory has failed, or versions that do not agree were \
     mixed. Move the state aside with `ipfs-cluster-service state cleanup`, and start this peer with \
     `daemon --bootstrap` and the address of another one to copy the state from it",
    list(.by)
)]
pub struct Outvoted {
    /// The entry.
    pub index: LogIndex,
    /// This peer's hash after it.
    pub ours: u64,
    /// The majority's.
    pub theirs: u64,
    /// Who says so.
    pub by: BTreeSet<PeerId>,
}

fn list(peers: &BTreeSet<PeerId>) -> String {
    let texts: Vec<String> = peers.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// One peer's memory of its own hashes and of what the others told.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    /// Own hashes, oldest first: each holds from its entry up to the next one's.
    own: VecDeque<Statement>,
    /// The last statements of each other member.
    heard: BTreeMap<PeerId, VecDeque<Statement>>,
}

impl Witness {
    /// The state was opened or replaced as a whole.
    pub fn begin(&mut self, now: Statement) {
        self.own = VecDeque::from([now]);
    }

    /// An entry was applied.
    pub fn applied(&mut self, now: Statement) {
        self.own.push_back(now);
        if self.own.len() > WITNESS_ENTRIES_MAX {
            self.own.pop_front();
        }
    }

    /// What to tell the others; nothing before something was applied.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        let Some(newest) = self.own.back().copied() else {
            return Vec::new();
        };
        let index = LogIndex(newest.index.0 - newest.index.0 % MARK_EVERY);
        let mark = self.own_at(index).map(|hash| Statement { index, hash });
        mark.into_iter().chain([newest]).collect()
    }

    /// What a member told.
    pub fn heard(&mut self, from: PeerId, statements: impl IntoIterator<Item = Statement>) {
        let kept = self.heard.entry(from).or_default();
        for statement in statements.into_iter().take(WITNESS_STATEMENTS_MAX) {
            kept.retain(|k| k.index != statement.index);
            kept.push_back(statement);
            if kept.len() > WITNESS_STATEMENTS_MAX {
                kept.pop_front();
            }
        }
    }

    /// Whether a majority of the members, of which this peer is one, has another state: the newest
    /// entry at which they agree with each other and not with this peer.
    pub fn judge(&mut self, members: &BTreeSet<PeerId>) -> Result<(), Box<Outvoted>> {
        self.heard.retain(|peer, _| members.contains(peer));
        let mut said: BTreeMap<(LogIndex, u64), BTreeSet<PeerId>> = BTreeMap::new();
        for (peer, statements) in &self.heard {
            for Statement { index, hash } in statements {
                let by = said.entry((*index, *hash)).or_default();
                by.insert(peer.clone());
            }
        }
        for ((index, theirs), by) in said.into_iter().rev() {
            let ours = self.own_at(index).filter(|ours| *ours != theirs);
            if let Some(ours) = ours
                && by.len() * 2 > members.len()
            {
                return Err(Box::new(Outvoted {
                    index,
                    ours,
                    theirs,
                    by,
                }));
            }
        }
        Ok(())
    }

    /// The own hash after an entry, if that was applied here and is remembered. Entries without
    /// commands leave it as it was.
    fn own_at(&self, index: LogIndex) -> Option<u64> {
        if self.own.back()?.index < index {
            // What comes up to there may not have been applied here.
            return None;
        }
        let after = self.own.partition_point(|s| s.index <= index);
        Some(self.own.get(after.checked_sub(1)?)?.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::peer;

    fn peers(n: u8) -> BTreeSet<PeerId> {
        (1..=n).map(peer).collect()
    }

    fn at(index: u64, hash: u64) -> Statement {
        let index = LogIndex(index);
        Statement { index, hash }
    }

    /// A peer that applied entries 1 to `last`; from `wrong` on its state is another.
    fn witness(last: u64, wrong: u64) -> Witness {
        let mut witness = Witness::default();
        witness.begin(at(1, 100));
        for i in 2..=last {
            witness.applied(at(i, if i >= wrong { i * 7 } else { i * 3 }));
        }
        witness
    }

    #[test]
    fn one_that_differs_from_a_majority_is_told_so_and_the_others_are_not() {
        let mut states = [witness(9, u64::MAX), witness(9, 5), witness(9, u64::MAX)];
        let told: Vec<_> = states.iter().map(Witness::statements).collect();
        for (i, state) in states.iter_mut().enumerate() {
            for (j, statements) in told.iter().enumerate().filter(|(j, _)| *j != i) {
                state.heard(peer(u8::try_from(j).unwrap() + 1), statements.clone());
            }
        }
        let [mut good, mut bad, mut also_good] = states;
        assert_eq!(good.judge(&peers(3)), Ok(()));
        assert_eq!(also_good.judge(&peers(3)), Ok(()));
        let outvoted = bad.judge(&peers(3)).unwrap_err();
        assert_eq!(
            (outvoted.index, outvoted.ours, outvoted.theirs),
            (LogIndex(9), 63, 27)
        );
        assert_eq!(outvoted.by, BTreeSet::from([peer(1), peer(3)]));
        let text = outvoted.to_string();
        assert!(
            text.contains("state cleanup") && text.contains("entry 9"),
            "{text}"
        );
    }

    #[test]
    fn half_is_no_majority_and_two_that_differ_from_each_other_are_none() {
        let mut own = witness(9, u64::MAX);
        own.heard(peer(2), [at(9, 1)]);
        assert_eq!(own.judge(&peers(2)), Ok(()));
        own.heard(peer(3), [at(9, 2)]);
        assert_eq!(own.judge(&peers(3)), Ok(()));
        own.heard(peer(3), [at(9, 1)]);
        assert!(own.judge(&peers(3)).is_err());
        // The word of one that left counts no more.
        assert_eq!(own.judge(&peers(2)), Ok(()));
        assert_eq!(own.judge(&peers(3)), Ok(()));
    }

    #[test]
    fn peers_at_different_entries_are_compared_at_a_mark() {
        let mut own = witness(5000, 3000);
        let (ahead, behind) = (witness(5100, u64::MAX), witness(4900, u64::MAX));
        own.heard(peer(2), ahead.statements());
        own.heard(peer(3), behind.statements());
        let outvoted = own.judge(&peers(3)).unwrap_err();
        assert_eq!(outvoted.index, LogIndex(4096));
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let mut own = witness(9, u64::MAX);
        for n in 2..=3 {
            own.heard(peer(n), [at(40, 1), at(0, 1)]);
        }
        assert_eq!(own.judge(&peers(3)), Ok(()));
        // It gets there, and differs.
        own.applied(at(38, 5));
        own.applied(at(41, 6));
        assert_eq!(own.judge(&peers(3)).unwrap_err().ours, 5);
        // A state that came as a whole says nothing of what was before.
        own.begin(at(60, 9));
        assert_eq!(own.judge(&peers(3)), Ok(()));
        assert_eq!(own.statements(), [at(60, 9)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut own = witness(WITNESS_ENTRIES_MAX as u64 + 500, u64::MAX);
        assert_eq!(own.own.len(), WITNESS_ENTRIES_MAX);
        for i in 0..100 {
            own.heard(peer(2), [at(i, i)]);
        }
        assert_eq!(own.heard[&peer(2)].len(), WITNESS_STATEMENTS_MAX);
    }
}
