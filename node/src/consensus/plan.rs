//! Who should vote: decided from what the leader sees, one change at a time. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    id::{Incarnation, PeerId},
    limits::{STAND_INS_MAX, VOTERS_MAX},
};

use super::types::RaftId;

/// What the leader sees.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The leader.
    pub(super) own: RaftId,
    /// A change was begun and not finished.
    pub(super) joint: bool,
    pub(super) voters: BTreeSet<RaftId>,
    pub(super) learners: BTreeSet<RaftId>,
    /// The state's members: their present lives and labels.
    pub(super) members: BTreeMap<PeerId, (Incarnation, BTreeMap<String, String>)>,
    /// They answered the leader just now.
    pub(super) healthy: BTreeSet<RaftId>,
    /// They have not answered for long.
    pub(super) dead: BTreeSet<RaftId>,
    /// They have all but the newest entries.
    pub(super) caught_up: BTreeSet<RaftId>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Complete a change that a former leader began.
    Finish,
    /// Let a member have the log.
    Admit(RaftId),
    /// Take one out that is no member any more (or in a former life).
    Drop(RaftId),
    /// The next life of a peer for a former one, in one change.
    Renew { out: RaftId, with: RaftId },
    /// One voter for another in one change; the old one stays as a stand-in if it is a member.
    Replace { out: RaftId, with: RaftId },
    /// Give votes.
    Promote(BTreeSet<RaftId>),
    /// Take votes.
    Demote(BTreeSet<RaftId>),
    /// Let another lead: this peer is to leave.
    HandOver(RaftId),
}

/// The next change, if one is due.
pub(super) fn next(view: &View) -> Option<Change> {
    if view.joint {
        return Some(Change::Finish);
    }
    if view.members.is_empty() {
        // The cluster is being formed.
        return None;
    }
    view.strangers()
        .or_else(|| view.missing())
        .or_else(|| view.count())
        .or_else(|| view.dead_voter())
}

/// The largest odd number up to `n`.
fn odd(n: usize) -> usize {
    if n == 0 { 0 } else { n - (n + 1) % 2 }
}

impl View {
    fn is_member(&self, id: &RaftId) -> bool {
        self.members
            .get(id.peer())
            .is_some_and(|(incarnation, _)| *incarnation == id.incarnation())
    }

    /// Stand-ins that could vote at once, those of rarely seen labels first.
    fn candidates(&self) -> Vec<RaftId> {
        let labels = |id: &RaftId| self.members.get(id.peer()).map(|(_, labels)| labels);
        let mut found: Vec<_> = self
            .learners
            .iter()
            .filter(|id| self.is_member(id))
            .filter(|id| self.healthy.contains(id) && self.caught_up.contains(id))
            .map(|id| {
                let alike = self.voters.iter().filter(|v| labels(v) == labels(id));
                (alike.count(), id.clone())
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Nodes that are no members.
    fn strangers(&self) -> Option<Change> {
        let mut strangers = self.learners.iter().chain(&self.voters);
        let out = strangers.find(|id| !self.is_member(id))?;
        if let Some(with) = self.new_life(out) {
            let out = out.clone();
            return Some(Change::Renew { out, with });
        }
        if self.learners.contains(out) {
            return Some(Change::Drop(out.clone()));
        }
        if *out == self.own {
            let mut others = self.voters.iter().filter(|id| self.is_member(id));
            return others
                .find(|id| self.healthy.contains(id) && self.caught_up.contains(id))
                .map(|id| Change::HandOver(id.clone()));
        }
        match self.candidates().into_iter().next() {
            Some(with) => Some(Change::Replace {
                out: out.clone(),
                with,
            }),
            None => Some(Change::Drop(out.clone())),
        }
    }

    /// The present life of this peer, if it does not have the log yet.
    fn new_life(&self, out: &RaftId) -> Option<RaftId> {
        let (incarnation, _) = self.members.get(out.peer())?;
        let id = RaftId::new(out.peer().clone(), *incarnation);
        let known = self.voters.contains(&id) || self.learners.contains(&id);
        (!known).then_some(id)
    }

    /// Members without the log.
    fn missing(&self) -> Option<Change> {
        if self.voters.len() + self.learners.len() >= VOTERS_MAX + STAND_INS_MAX {
            return None;
        }
        self.members
            .iter()
            .map(|(peer, (incarnation, _))| RaftId::new(peer.clone(), *incarnation))
            .find(|id| !self.voters.contains(id) && !self.learners.contains(id))
            .map(Change::Admit)
    }

    /// 1, 3, 5 or 7 voters.
    fn count(&self) -> Option<Change> {
        let have = self.voters.len();
        let target = odd(VOTERS_MAX.min(have + self.learners.len()));
        let candidates = self.candidates();
        let reachable = odd(have + candidates.len()).min(target);
        if reachable > have {
            return Some(Change::Promote(
                candidates.into_iter().take(reachable - have).collect(),
            ));
        }
        // Voters are taken back only while all answer: with one silent, it may be needed.
        if have > target && self.voters.is_subset(&self.healthy) {
            let others = self.voters.iter().rev().filter(|id| **id != self.own);
            return Some(Change::Demote(
                others.take(have - target).cloned().collect(),
            ));
        }
        None
    }

    /// A dead voter is replaced, never merely dropped.
    fn dead_voter(&self) -> Option<Change> {
        let out = self.voters.iter().find(|id| self.dead.contains(id))?;
        let with = self.candidates().into_iter().next()?;
        Some(Change::Replace {
            out: out.clone(),
            with,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{BTreeMap, Change, Incarnation, RaftId, View, next, odd};

    fn ids(ns: &[u64]) -> BTreeSet<RaftId> {
        ns.iter().map(|n| RaftId::from(*n)).collect()
    }

    fn view(voters: &[u64], learners: &[u64]) -> View {
        let all: BTreeSet<_> = ids(voters).union(&ids(learners)).cloned().collect();
        let members = all
            .iter()
            .map(|id| (id.peer().clone(), (id.incarnation(), BTreeMap::new())));
        View {
            own: RaftId::from(voters[0]),
            joint: false,
            voters: ids(voters),
            learners: ids(learners),
            members: members.collect(),
            healthy: all.clone(),
            dead: BTreeSet::new(),
            caught_up: all,
        }
    }

    #[test]
    fn votes_are_given_so_that_their_number_is_odd() {
        assert_eq!((0..6).map(odd).collect::<Vec<_>>(), [0, 1, 1, 3, 3, 5]);
        assert_eq!(next(&view(&[1], &[])), None);
        assert_eq!(next(&view(&[1], &[2])), None);
        let three = next(&view(&[1], &[2, 3]));
        assert_eq!(three, Some(Change::Promote(ids(&[2, 3]))));
        assert_eq!(next(&view(&[1, 2, 3], &[4])), None);
        let again = next(&view(&[1, 2], &[4]));
        assert_eq!(again, Some(Change::Promote(ids(&[4]))));
        assert_eq!(next(&view(&[1, 2, 3, 4, 5, 6, 7], &[8, 9])), None);
    }

    #[test]
    fn one_that_lags_or_is_silent_gets_no_vote() {
        let mut v = view(&[1], &[2, 3]);
        v.caught_up.remove(&RaftId::from(3));
        assert_eq!(next(&v), None);
        let mut v = view(&[1], &[2, 3]);
        v.healthy.remove(&RaftId::from(2));
        assert_eq!(next(&v), None);
    }

    #[test]
    fn two_that_are_left_of_three_become_one_voter_and_a_stand_in() {
        assert_eq!(next(&view(&[1, 2], &[])), Some(Change::Demote(ids(&[2]))));
        let mut v = view(&[1, 2], &[]);
        v.healthy.remove(&RaftId::from(2));
        assert_eq!(next(&v), None);
    }

    #[test]
    fn a_dead_voter_is_replaced_and_never_dropped() {
        let mut v = view(&[1, 2, 3], &[4]);
        v.dead = ids(&[3]);
        v.healthy.remove(&RaftId::from(3));
        let (out, with) = (RaftId::from(3), RaftId::from(4));
        assert_eq!(next(&v), Some(Change::Replace { out, with }));
        v.healthy.remove(&RaftId::from(4));
        assert_eq!(next(&v), None);
    }

    #[test]
    fn a_begun_change_is_finished_before_anything_else() {
        let mut v = view(&[1, 2], &[3]);
        v.joint = true;
        assert_eq!(next(&v), Some(Change::Finish));
    }

    #[test]
    fn who_left_the_cluster_leaves_the_consensus() {
        let mut v = view(&[1, 2, 3], &[4]);
        v.members.remove(RaftId::from(2).peer());
        let (out, with) = (RaftId::from(2), RaftId::from(4));
        assert_eq!(next(&v), Some(Change::Replace { out, with }));
        let mut v = view(&[1, 2, 3], &[4]);
        v.members.remove(RaftId::from(4).peer());
        assert_eq!(next(&v), Some(Change::Drop(RaftId::from(4))));
        let mut v = view(&[1, 2, 3], &[]);
        v.members.remove(RaftId::from(1).peer());
        assert_eq!(next(&v), Some(Change::HandOver(RaftId::from(2))));
    }

    #[test]
    fn a_former_life_makes_room_for_the_present_one() {
        let mut v = view(&[1, 2, 3], &[]);
        let out = RaftId::from(3);
        let with = RaftId::new(out.peer().clone(), Incarnation(40));
        let present = (Incarnation(40), BTreeMap::new());
        v.members.insert(out.peer().clone(), present);
        let renew = Change::Renew {
            out: out.clone(),
            with: with.clone(),
        };
        assert_eq!(next(&v), Some(renew));
        v.learners.insert(with);
        assert_eq!(next(&v), Some(Change::Drop(out)));
    }
}
