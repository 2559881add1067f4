use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::id::Incarnation;

use super::{Change, View, next, odd};
use crate::consensus::types::RaftId;

mod closed_loop;

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
        leaving: false,
        may_spread: true,
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
    // The majority of the others is kept: one of them is silent, and gives its vote back.
    let mut v = view(&[1, 2, 3], &[]);
    v.members.remove(RaftId::from(2).peer());
    v.healthy.remove(&RaftId::from(3));
    assert_eq!(next(&v), Some(Change::Demote(ids(&[2, 3]))));
    // Of two, the silent one: without the vote of the other it could not be let go.
    let mut v = view(&[1, 2, 3], &[]);
    v.members.remove(RaftId::from(2).peer());
    v.members.remove(RaftId::from(3).peer());
    v.healthy.remove(&RaftId::from(3));
    assert_eq!(next(&v), Some(Change::Drop(RaftId::from(3))));
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

fn zones(mut v: View, zones: &[(u64, &str)]) -> View {
    for (n, zone) in zones {
        let labels = BTreeMap::from([("tag:zone".to_owned(), (*zone).to_owned())]);
        let row = v.members.get_mut(RaftId::from(*n).peer()).unwrap();
        row.1 = labels;
    }
    v
}

#[test]
fn a_vote_moves_to_a_zone_that_has_none() {
    let spread = [(1, "a"), (2, "a"), (3, "b"), (4, "c")];
    let v = zones(view(&[1, 2, 3], &[4]), &spread);
    let (out, with) = (RaftId::from(2), RaftId::from(4));
    assert_eq!(next(&v), Some(Change::Spread { out, with }));
    // Not so soon after another, and not while anybody is unwell.
    let mut soon = v.clone();
    soon.may_spread = false;
    assert_eq!(next(&soon), None);
    let mut unwell = v;
    unwell.healthy.remove(&RaftId::from(3));
    assert_eq!(next(&unwell), None);
    // As good as it gets.
    let even = [(1, "a"), (2, "b"), (3, "c"), (4, "c")];
    assert_eq!(next(&zones(view(&[1, 2, 3], &[4]), &even)), None);
}

#[test]
fn votes_are_given_and_a_dead_voter_is_replaced_with_the_zones_in_mind() {
    let all = [(1, "a"), (2, "a"), (3, "b"), (4, "c")];
    let v = zones(view(&[1], &[2, 3, 4]), &all);
    assert_eq!(next(&v), Some(Change::Promote(ids(&[3, 4]))));
    let all = [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "c")];
    let mut v = zones(view(&[1, 2, 3], &[4, 5]), &all);
    v.dead = ids(&[3]);
    v.healthy = ids(&[1, 2, 5, 4]);
    // Five can vote before anybody is replaced.
    assert_eq!(next(&v), Some(Change::Promote(ids(&[4, 5]))));
    v.learners = ids(&[5]);
    v.members.remove(RaftId::from(4).peer());
    let (out, with) = (RaftId::from(3), RaftId::from(5));
    assert_eq!(next(&v), Some(Change::Replace { out, with }));
}

#[test]
fn a_leader_that_leaves_gives_its_vote_away_first() {
    let mut v = view(&[1], &[2]);
    v.leaving = true;
    assert_eq!(next(&v), Some(Change::Promote(ids(&[2]))));
    let mut v = view(&[1, 2, 3], &[]);
    v.leaving = true;
    v.caught_up.remove(&RaftId::from(2));
    assert_eq!(next(&v), Some(Change::HandOver(RaftId::from(3))));
    // With as many voters as there may be, one that is silent makes room.
    let mut v = view(&[1, 2, 3, 4, 5, 6, 7], &[8]);
    v.leaving = true;
    v.caught_up = ids(&[1, 8]);
    v.healthy.remove(&RaftId::from(5));
    let (out, with) = (RaftId::from(5), RaftId::from(8));
    assert_eq!(next(&v), Some(Change::Replace { out, with }));
    // The same for one that has been taken out while it led alone.
    let mut v = view(&[1], &[2]);
    v.members.remove(RaftId::from(1).peer());
    assert_eq!(next(&v), Some(Change::Promote(ids(&[2]))));
}
