//! Plans carried out one after the other, as openraft would: what must hold at each step and at the
//! end.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    id::Incarnation,
    limits::{STAND_INS_MAX, VOTERS_MAX},
};
use proptest::prelude::*;

use super::super::{Change, View, next};
use crate::consensus::types::RaftId;

/// No plan needs more steps than this.
const STEPS_MAX: usize = 100;

fn zone(n: u8) -> BTreeMap<String, String> {
    BTreeMap::from([("tag:zone".to_owned(), n.to_string())])
}

/// Peers of some cluster: whether each votes, is a member, and is well; its zone.
fn peers() -> impl Strategy<Value = Vec<(bool, bool, bool, u8)>> {
    let peer = (
        any::<bool>(),
        prop::bool::weighted(0.85),
        prop::bool::weighted(0.8),
        0..3u8,
    );
    prop::collection::vec(peer, 1..12)
}

/// The first one leads, so it votes and is well.
fn view(peers: &[(bool, bool, bool, u8)], leaving: bool) -> View {
    let mut view = View {
        own: RaftId::from(0),
        leaving,
        may_spread: true,
        joint: false,
        voters: BTreeSet::new(),
        learners: BTreeSet::new(),
        members: BTreeMap::new(),
        healthy: BTreeSet::new(),
        dead: BTreeSet::new(),
        caught_up: BTreeSet::new(),
    };
    for (n, (votes, member, well, labels)) in (0..).zip(peers) {
        let (id, first) = (RaftId::from(n), n == 0);
        if *member {
            let row = (id.incarnation(), zone(*labels));
            view.members.insert(id.peer().clone(), row);
        }
        if first || (*votes && view.voters.len() < VOTERS_MAX) {
            view.voters.insert(id.clone());
        } else {
            view.learners.insert(id.clone());
        }
        if first || *well {
            view.healthy.insert(id.clone());
            view.caught_up.insert(id);
        } else {
            view.dead.insert(id);
        }
    }
    // A state without members is a cluster about to be formed.
    if view.members.is_empty() {
        let own = (view.own.incarnation(), zone(0));
        view.members.insert(view.own.peer().clone(), own);
    }
    view
}

impl View {
    fn apply(&mut self, change: Change) {
        let give = |view: &mut Self, id: RaftId| {
            view.learners.remove(&id);
            view.voters.insert(id);
        };
        match change {
            Change::Finish => self.joint = false,
            Change::Admit(id) => drop(self.learners.insert(id)),
            Change::Drop(id) => {
                self.voters.remove(&id);
                self.learners.remove(&id);
            }
            Change::Renew { out, with } => {
                self.voters.remove(&out);
                self.learners.remove(&out);
                self.learners.insert(with);
            }
            Change::Replace { out, with } | Change::Spread { out, with } => {
                self.voters.remove(&out);
                if self.members.contains_key(out.peer()) {
                    self.learners.insert(out);
                }
                give(self, with);
            }
            Change::Promote(ids) => ids.into_iter().for_each(|id| give(self, id)),
            Change::Demote(ids) => {
                for id in ids {
                    self.voters.remove(&id);
                    self.learners.insert(id);
                }
            }
            // The next leader does not want to leave.
            Change::HandOver(to) => {
                self.own = to;
                self.leaving = false;
            }
        }
    }

    fn votes_of_the_well(&self) -> usize {
        self.voters.intersection(&self.healthy).count()
    }

    fn in_zones(&self) -> Vec<usize> {
        let mut zones: BTreeMap<&BTreeMap<String, String>, usize> = BTreeMap::new();
        for id in &self.voters {
            *zones.entry(&self.members[id.peer()].1).or_default() += 1;
        }
        zones.into_values().collect()
    }
}

/// Carries out all that is planned. Checks each step.
fn settle(view: &mut View) -> Result<usize, TestCaseError> {
    for step in 0..STEPS_MAX {
        let Some(change) = next(view) else {
            return Ok(step);
        };
        let before = view.clone();
        let had_quorum = 2 * before.votes_of_the_well() > before.voters.len();
        view.apply(change.clone());
        let what = format!("{change:?}\n of {before:?}");
        prop_assert!(view.voters.contains(&view.own), "no leader: {what}");
        prop_assert!(view.voters.len() <= VOTERS_MAX, "{what}");
        let nodes = view.voters.len() + view.learners.len();
        prop_assert!(nodes <= VOTERS_MAX + STAND_INS_MAX, "{what}");
        let has_quorum = 2 * view.votes_of_the_well() > view.voters.len();
        prop_assert!(has_quorum || !had_quorum, "the quorum is lost: {what}");
        let out = before.voters.difference(&view.voters);
        for out in out.filter(|id| before.is_member(id)) {
            let as_many = view.voters.len() >= before.voters.len();
            let well = before.voters.is_subset(&before.healthy);
            // With one that leaves, the silent may have to lose theirs: else nobody decides.
            let forced = before.voters.iter().any(|id| !before.is_member(id));
            prop_assert!(
                as_many || well || forced,
                "a vote is merely dropped: {what}"
            );
            prop_assert!(view.learners.contains(out), "a member lost the log: {what}");
        }
        view.may_spread &= !matches!(change, Change::Spread { .. });
    }
    Err(TestCaseError::fail(format!("no end: {view:?}")))
}

proptest! {
    #[test]
    fn every_step_keeps_the_quorum_and_there_is_an_end(
        peers in peers(),
        leaving in any::<bool>(),
    ) {
        settle(&mut view(&peers, leaving))?;
    }

    #[test]
    fn with_all_well_an_odd_number_of_members_votes_and_nobody_else_has_the_log(
        mut peers in peers(),
    ) {
        peers.iter_mut().for_each(|p| p.2 = true);
        let mut view = view(&peers, false);
        settle(&mut view)?;
        let members = view.members.len();
        let want = VOTERS_MAX.min(if members.is_multiple_of(2) { members - 1 } else { members });
        prop_assert_eq!(view.voters.len(), want);
        prop_assert_eq!(view.voters.len() + view.learners.len(), members);
    }

    #[test]
    fn votes_end_up_spread_as_evenly_as_the_zones_allow(mut peers in peers()) {
        peers.iter_mut().for_each(|p| (p.1, p.2) = (true, true));
        let mut view = view(&peers, false);
        // Ten minutes later, and again.
        while settle(&mut view)? > 0 {
            view.may_spread = true;
        }
        let sizes = view.in_zones();
        let (least, most) = (sizes.iter().min(), sizes.iter().max());
        let free = |n: u8| {
            let of_zone = |id: &&RaftId| view.members[id.peer()].1 == zone(n);
            view.learners.iter().filter(of_zone).count()
        };
        for n in 0..3 {
            let votes = view.voters.iter().filter(|id| view.members[id.peer()].1 == zone(n));
            let votes = votes.count();
            let could_have_more = free(n) > 0 && most.is_some_and(|most| votes + 1 < *most);
            prop_assert!(!could_have_more, "{least:?} {most:?} {view:?}");
        }
    }

    #[test]
    fn a_leader_that_leaves_is_relieved_if_anybody_can(peers in peers()) {
        let mut view = view(&peers, true);
        let before = view.clone();
        let others = before.healthy.iter().filter(|id| {
            **id != before.own && before.members.contains_key(id.peer())
        });
        let anybody = others.count() > 0;
        settle(&mut view)?;
        prop_assert_eq!(view.own != before.own, anybody, "{:?}", before);
    }

    #[test]
    fn a_new_life_of_a_wiped_peer_takes_the_place_of_the_former(
        mut peers in peers(),
        which in any::<prop::sample::Index>(),
    ) {
        peers.iter_mut().for_each(|p| (p.1, p.2) = (true, true));
        prop_assume!(peers.len() > 3);
        let mut view = view(&peers, false);
        settle(&mut view)?;
        let alive: Vec<_> = view.healthy.iter().filter(|id| **id != view.own).cloned().collect();
        let former = which.get(&alive).clone();
        let present = RaftId::new(former.peer().clone(), Incarnation(77));
        view.members.insert(former.peer().clone(), (present.incarnation(), zone(0)));
        view.healthy.remove(&former);
        view.caught_up.remove(&former);
        view.healthy.insert(present.clone());
        view.caught_up.insert(present.clone());
        settle(&mut view)?;
        let has_the_log = view.voters.contains(&present) || view.learners.contains(&present);
        prop_assert!(has_the_log, "{:?}", view);
        prop_assert!(!view.voters.contains(&former) && !view.learners.contains(&former));
    }
}
