//! Votes over failure domains: of two sets of voters, the one is better in which fewer pairs share a
//! value of a label (`tag:` metrics; `zone=a` twice and `rack=7` twice are two such pairs).
//!
//! Pairs, because they are what counts for a majority: five voters as 3 + 1 + 1 (three pairs) lose it
//! with one zone, 2 + 2 + 1 (two pairs) do not.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, RaftId, View};

impl View {
    /// How many pairs of these share a value, summed over all labels.
    fn pairs(&self, ids: &[&RaftId]) -> usize {
        let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut pairs = 0;
        for id in ids {
            let Some((_, labels)) = self.members.get(id.peer()) else {
                continue;
            };
            for (key, value) in labels {
                let before = seen.entry((key, value)).or_default();
                pairs += *before;
                *before += 1;
            }
        }
        pairs
    }

    /// The stand-in that goes best with these; of equals the first.
    pub(super) fn best_beside(&self, voters: Vec<&RaftId>) -> Option<&RaftId> {
        let candidates = self.candidates().into_iter();
        let free = candidates.filter(|id| !voters.contains(id));
        free.min_by_key(|id| {
            let mut with = voters.clone();
            with.push(*id);
            self.pairs(&with)
        })
    }

    /// The stand-in that goes best in this voter's place.
    pub(super) fn replacement(&self, out: &RaftId) -> Option<RaftId> {
        let rest = self.voters.iter().filter(|id| *id != out).collect();
        self.best_beside(rest).cloned()
    }

    /// So many stand-ins, each the best beside those before it.
    pub(super) fn promoted(&self, count: usize) -> BTreeSet<RaftId> {
        let mut voters: Vec<&RaftId> = self.voters.iter().collect();
        let mut chosen = BTreeSet::new();
        for _ in 0..count {
            let Some(next) = self.best_beside(voters.clone()) else {
                break;
            };
            voters.push(next);
            chosen.insert(next.clone());
        }
        chosen
    }

    /// So many voters without which the others are spread best; never the leader, of equals the
    /// last.
    pub(super) fn demoted(&self, count: usize) -> BTreeSet<RaftId> {
        let mut voters: Vec<&RaftId> = self.voters.iter().collect();
        let mut chosen = BTreeSet::new();
        for _ in 0..count {
            let others = voters.iter().rev().filter(|id| ***id != self.own);
            let next = others.copied().min_by_key(|id| {
                let rest: Vec<_> = voters.iter().copied().filter(|v| v != id).collect();
                self.pairs(&rest)
            });
            let Some(next) = next else { break };
            voters.retain(|v| *v != next);
            chosen.insert(next.clone());
        }
        chosen
    }

    /// The one exchange that spreads the votes better, if there is one and all voters are well:
    /// it is a luxury.
    pub(super) fn spread(&self) -> Option<Change> {
        if !self.may_spread || !self.voters.iter().all(|id| self.is_well(id)) {
            return None;
        }
        let voters: Vec<&RaftId> = self.voters.iter().collect();
        let present = self.pairs(&voters);
        // Of a pair, one at least does not lead, so the leader never needs to go.
        let moves = voters.iter().filter(|out| ***out != self.own);
        let moves = moves.filter_map(|out| {
            let mut then: Vec<_> = voters.iter().copied().filter(|v| v != out).collect();
            let with = self.best_beside(then.clone())?;
            then.push(with);
            Some((self.pairs(&then), *out, with))
        });
        let (pairs, out, with) = moves.min()?;
        (pairs < present).then(|| Change::Spread {
            out: out.clone(),
            with: with.clone(),
        })
    }
}
