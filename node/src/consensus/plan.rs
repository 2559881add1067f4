//! Who should vote: decided from what the leader sees, one change at a time. Pure.

mod spread;
#[cfg(test)]
mod tests;

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
    /// The leader is about to stop for good and must not lead.
    pub(super) leaving: bool,
    /// A vote was last moved for the sake of spread long enough ago.
    pub(super) may_spread: bool,
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
    /// The same for the sake of spread: both are well.
    Spread { out: RaftId, with: RaftId },
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
    view.resignation()
        .or_else(|| view.strangers())
        .or_else(|| view.missing())
        .or_else(|| view.count())
        .or_else(|| view.dead_voter())
        .or_else(|| view.spread())
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

    /// Answers and has nearly all of the log.
    fn is_well(&self, id: &RaftId) -> bool {
        self.is_member(id) && self.healthy.contains(id) && self.caught_up.contains(id)
    }

    /// Stand-ins that could vote at once.
    fn candidates(&self) -> Vec<&RaftId> {
        self.learners.iter().filter(|id| self.is_well(id)).collect()
    }

    /// A leader that is about to stop lets another lead, and gives it a vote first if need be.
    fn resignation(&self) -> Option<Change> {
        if self.leaving { self.give_way() } else { None }
    }

    fn give_way(&self) -> Option<Change> {
        let mut others = self.voters.iter().filter(|id| **id != self.own);
        if let Some(to) = others.find(|id| self.is_well(id)) {
            return Some(Change::HandOver(to.clone()));
        }
        let voters = self.voters.iter().collect();
        let with = self.best_beside(voters)?.clone();
        if self.voters.len() < VOTERS_MAX {
            return Some(Change::Promote(BTreeSet::from([with])));
        }
        let others = self.voters.iter().filter(|id| **id != self.own);
        let out = others.min_by_key(|id| self.healthy.contains(id))?.clone();
        Some(Change::Replace { out, with })
    }

    /// Nodes that are no members: those first that are needed least, or letting one go that still
    /// votes could cost the majority while others are silent.
    fn strangers(&self) -> Option<Change> {
        let nodes = self.learners.iter().chain(&self.voters);
        let strangers = nodes.filter(|id| !self.is_member(id));
        let out = strangers
            .min_by_key(|id| (self.voters.contains(id), self.healthy.contains(id), *id))?;
        if let Some(with) = self.new_life(out) {
            let out = out.clone();
            return Some(Change::Renew { out, with });
        }
        if self.learners.contains(out) {
            return Some(Change::Drop(out.clone()));
        }
        if *out == self.own {
            return self.give_way();
        }
        Some(match self.replacement(out) {
            Some(with) => Change::Replace {
                out: out.clone(),
                with,
            },
            None => self.drop_voter(out),
        })
    }

    /// A voter that is no member goes, and soon stops answering. Where the others would have no
    /// majority without it, those of them that are silent lose their votes in the same change,
    /// and get them back when they answer.
    fn drop_voter(&self, out: &RaftId) -> Change {
        let silent = |id: &&RaftId| *id != out && !self.healthy.contains(*id);
        let mut without: BTreeSet<RaftId> = self.voters.iter().filter(silent).cloned().collect();
        let rest = self.voters.len() - 1;
        if rest > 2 * without.len() {
            return Change::Drop(out.clone());
        }
        without.insert(out.clone());
        Change::Demote(without)
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
        let reachable = odd(have + self.candidates().len()).min(target);
        if reachable > have {
            return Some(Change::Promote(self.promoted(reachable - have)));
        }
        // Voters are taken back only while all answer: with one silent, it may be needed.
        if have > target && self.voters.is_subset(&self.healthy) {
            return Some(Change::Demote(self.demoted(have - target)));
        }
        None
    }

    /// A dead voter is replaced, never merely dropped.
    fn dead_voter(&self) -> Option<Change> {
        let out = self.voters.iter().find(|id| self.dead.contains(id))?;
        let with = self.replacement(out)?;
        Some(Change::Replace {
            out: out.clone(),
            with,
        })
    }
}
