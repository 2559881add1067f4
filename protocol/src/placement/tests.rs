//! The rules of placement, by example and by property.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::{Candidate, CandidateView, PlacementRequest, Promised, Standing, Weighed, place};
use crate::{
    id::{Cid, PeerId},
    pin::Replication,
    state::tests::peer,
};

fn cid(n: u32) -> Cid {
    let mut bytes = vec![0x01, 0x55, 0x12, 0x20];
    for word in 0..8 {
        bytes.extend((n ^ word).to_le_bytes());
    }
    Cid::from_bytes(&bytes).unwrap()
}

fn peers(numbers: &[u8]) -> Vec<PeerId> {
    numbers.iter().map(|n| peer(*n)).collect()
}

fn candidate(n: u8, zone: &str, free: i64, standing: Standing) -> Candidate {
    let tag = Weighed {
        value: zone.into(),
        weight: 0,
        partitionable: true,
    };
    let room = Weighed {
        value: free.to_string(),
        weight: free,
        partitionable: false,
    };
    Candidate {
        peer: peer(n),
        standing,
        metrics: vec![Some(tag), Some(room)],
        promised: Promised::default(),
    }
}

#[test]
fn a_peer_without_room_for_all_of_it_takes_none_of_it() {
    let peers = [(1, "a", 100), (2, "b", 1000), (3, "c", 500)];
    let cid = cid(1);
    let request = PlacementRequest {
        cid: &cid,
        replication: Replication::Factor { min: 1, max: 3 },
        user_allocations: &[],
        current: &[],
        excluded: &[],
    };
    let chosen = |bytes: u64| place(&request, &up(&peers).needing(bytes));
    assert_eq!(chosen(0).unwrap().len(), 3);
    assert_eq!(chosen(100).unwrap().len(), 3);
    assert_eq!(chosen(101).unwrap(), [peer(2), peer(3)]);
    assert_eq!(chosen(1000).unwrap(), [peer(2)]);
    let error = chosen(1001).unwrap_err().to_string();
    assert!(error.starts_with("not enough peers"), "{error}");
    // What is promised to others does not count as room.
    let mut view = up(&peers);
    view.promise(&peer(2), Promised::to(600));
    assert_eq!(place(&request, &view.needing(450)).unwrap(), [peer(3)]);
}

fn view(candidates: impl IntoIterator<Item = Candidate>) -> CandidateView {
    let mut view = CandidateView::new(vec!["tag:zone".into(), "freespace".into()]);
    for candidate in candidates {
        view.insert(candidate);
    }
    view
}

fn up(all: &[(u8, &str, i64)]) -> CandidateView {
    view(
        all.iter()
            .map(|(n, zone, free)| candidate(*n, zone, *free, Standing::Up)),
    )
}

/// Places CID 1.
fn placed(
    view: &CandidateView,
    factors: (i32, i32),
    current: &[u8],
    users: &[u8],
) -> Result<Vec<PeerId>, String> {
    let request = PlacementRequest {
        cid: &cid(1),
        replication: Replication::new(factors.0, factors.1).unwrap(),
        user_allocations: &peers(users),
        current: &peers(current),
        excluded: &[],
    };
    place(&request, view).map_err(|e| e.to_string())
}

#[test]
fn most_room_first_and_zones_in_turn() {
    let view = up(&[
        (1, "a", 90),
        (2, "a", 80),
        (3, "b", 10),
        (4, "b", 20),
        (5, "c", 5),
    ]);
    assert_eq!(placed(&view, (1, 1), &[], &[]), Ok(peers(&[1])));
    assert_eq!(placed(&view, (3, 3), &[], &[]), Ok(peers(&[1, 4, 5])));
    assert_eq!(placed(&view, (5, 5), &[], &[]), Ok(peers(&[1, 4, 5, 2, 3])));
    assert_eq!(placed(&view, (-1, -1), &[2], &[1]), Ok(vec![]));
}

#[test]
fn what_is_allocated_counts_for_the_spread() {
    let view = up(&[(1, "a", 90), (2, "a", 80), (3, "b", 10)]);
    assert_eq!(placed(&view, (2, 2), &[2], &[]), Ok(peers(&[2, 3])));
}

#[test]
fn present_holders_stay_and_a_raised_maximum_adds() {
    let view = up(&[(1, "a", 90), (2, "a", 80), (3, "a", 10)]);
    assert_eq!(placed(&view, (1, 2), &[3], &[]), Ok(peers(&[3, 1])));
    assert_eq!(placed(&view, (1, 3), &[3, 2], &[]), Ok(peers(&[3, 2, 1])));
    assert_eq!(placed(&view, (1, 1), &[3, 2], &[]), Ok(peers(&[3])));
}

#[test]
fn the_users_peers_come_first_also_on_a_satisfied_pin() {
    let view = up(&[(1, "a", 90), (2, "a", 80), (3, "a", 10)]);
    assert_eq!(placed(&view, (2, 2), &[], &[3, 9]), Ok(peers(&[3, 1])));
    assert_eq!(placed(&view, (2, 2), &[1, 2], &[3]), Ok(peers(&[3, 1])));
    assert_eq!(placed(&view, (1, 1), &[1], &[3, 2]), Ok(peers(&[3])));
}

#[test]
fn who_is_down_drains_or_is_full_takes_nothing_and_counts_for_nothing() {
    let view = view([
        candidate(1, "a", 90, Standing::Down),
        candidate(2, "a", 80, Standing::Draining),
        candidate(3, "a", 0, Standing::Up),
        candidate(4, "a", 10, Standing::Up),
    ]);
    assert_eq!(placed(&view, (1, 3), &[1, 2], &[3]), Ok(peers(&[4])));
    // A holder without room keeps what it has.
    assert_eq!(placed(&view, (2, 2), &[3], &[]), Ok(peers(&[3, 4])));
    assert_eq!(
        placed(&view, (3, 4), &[1, 3], &[]),
        Err(
            "not enough peers to allocate CID. Needed at least: 2. Wanted at most: 3. Available \
             candidates: 1. See logs for more info."
                .into()
        )
    );
}

#[test]
fn promised_room_is_not_given_twice() {
    let mut view = up(&[(1, "a", 100), (2, "a", 60)]);
    let mut given = BTreeMap::new();
    for _ in 0..14 {
        let peer = placed(&view, (1, 1), &[], &[]).unwrap().remove(0);
        view.promise(&peer, Promised::to(10));
        *given.entry(peer).or_insert(0) += 1;
    }
    // 100 : 60 of room is left about even.
    assert!((8..=10).contains(&given[&peer(1)]), "{given:?}");
    for _ in 0..2 {
        let peer = placed(&view, (1, 1), &[], &[]).unwrap().remove(0);
        view.promise(&peer, Promised::to(10));
    }
    assert!(
        placed(&view, (1, 1), &[], &[]).is_err(),
        "all room is promised"
    );
}

#[test]
fn what_is_guessed_ranks_peers_and_refuses_nothing() {
    // Room for one guess at most; a hundred pins of unknown size come all the same.
    let mut view = up(&[(1, "a", 1_500_000), (2, "a", 1_000_000)]);
    let mut given = BTreeMap::new();
    for _ in 0..100 {
        let peer = placed(&view, (1, 1), &[], &[]).unwrap().remove(0);
        view.promise(&peer, Promised::to(0));
        *given.entry(peer).or_insert(0) += 1;
    }
    assert!((49..=51).contains(&given[&peer(1)]), "{given:?}");
    // What is known still has to fit, beside what is known.
    view.promise(&peer(1), Promised::to(1_000_000));
    let takes = |bytes: u64| {
        let view = view.clone().needing(bytes);
        [1, 2].map(|n| view.takes(&peer(n)))
    };
    assert_eq!(takes(500_000), [true, true]);
    assert_eq!(takes(500_001), [false, true]);
    assert_eq!(takes(1_000_001), [false, false]);
}

#[test]
fn equal_peers_share_evenly() {
    let equal: Vec<_> = (1..=10).map(|n| (n, "a", 1_000_000)).collect();
    let view = up(&equal);
    let mut given: BTreeMap<PeerId, u32> = BTreeMap::new();
    for n in 0..20_000 {
        let request = PlacementRequest {
            cid: &cid(n),
            replication: Replication::new(2, 2).unwrap(),
            user_allocations: &[],
            current: &[],
            excluded: &[],
        };
        for peer in place(&request, &view).unwrap() {
            *given.entry(peer).or_default() += 1;
        }
    }
    let (least, most) = (given.values().min().unwrap(), given.values().max().unwrap());
    assert_eq!(given.len(), 10);
    assert!(most * 10 <= least * 11, "{given:?}");
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let standing = prop_oneof![
        6 => Just(Standing::Up),
        1 => Just(Standing::Down),
        1 => Just(Standing::Draining),
    ];
    vec((0..4u8, 0..5i64, standing, 0..8u8), 0..9).prop_map(|all| {
        let numbered = all.into_iter().zip(1..);
        numbered
            .map(|((zone, free, standing, odd), n)| {
                let zone = ["a", "b", "c", ""][usize::from(zone)];
                let mut candidate = candidate(n, zone, free * 10, standing);
                match odd {
                    0 => candidate.metrics[0] = None,
                    1 => candidate.metrics[1] = None,
                    2 => candidate.metrics.truncate(1),
                    3 => candidate.promised.known_bytes = u64::MAX,
                    4 => candidate.promised.guessed_bytes = u64::MAX,
                    _ => {}
                }
                candidate
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_rule_is_ever_broken(
        candidates in any_candidates(),
        (min, more) in (1..5i32, 0..4i32),
        current in vec(0..11u8, 0..5),
        users in vec(0..11u8, 0..4),
        excluded in vec(0..11u8, 0..3),
        salt in 0..1000u32,
    ) {
        let max = min + more;
        let view = view(candidates);
        let (current, users, excluded) = (peers(&current), peers(&users), peers(&excluded));
        let request = PlacementRequest {
            cid: &cid(salt),
            replication: Replication::new(min, max).unwrap(),
            user_allocations: &users,
            current: &current,
            excluded: &excluded,
        };
        let holds = |p: &PeerId| current.contains(p) && view.stays(p) && !excluded.contains(p);
        let fit = |p: &PeerId| holds(p) || (view.takes(p) && !excluded.contains(p));
        let fitting: BTreeSet<_> = view.candidates().map(|c| &c.peer).filter(|p| fit(p)).collect();
        let most = usize::try_from(max).unwrap().min(fitting.len());
        match place(&request, &view) {
            Err(_) => prop_assert!(fitting.len() < usize::try_from(min).unwrap()),
            Ok(chosen) => {
                let distinct: BTreeSet<_> = chosen.iter().collect();
                prop_assert_eq!(distinct.len(), chosen.len(), "nobody twice");
                prop_assert_eq!(chosen.len(), most, "as many as there can be");
                prop_assert!(chosen.iter().all(fit), "only who can");
                let wanted: BTreeSet<_> = users.iter().filter(|p| fit(p)).collect();
                let first = wanted.len().min(most);
                prop_assert!(chosen[..first].iter().all(|p| wanted.contains(p)), "users first");
                let lost = current.iter().any(|p| holds(p) && !distinct.contains(p));
                let others = chosen.iter().any(|p| !holds(p) && !wanted.contains(p));
                prop_assert!(!(lost && others), "no stranger instead of a holder");
                prop_assert_eq!(place(&request, &view).unwrap(), chosen, "always the same");
            }
        }
    }

    #[test]
    fn copies_spread_over_zones_as_evenly_as_the_zones_allow(
        candidates in any_candidates(),
        copies in 1..9i32,
    ) {
        let view = view(candidates);
        let request = PlacementRequest {
            cid: &cid(1),
            replication: Replication::new(1, copies).unwrap(),
            user_allocations: &[],
            current: &[],
            excluded: &[],
        };
        let zone = |p: &PeerId| {
            let found = view.candidates().find(|c| c.peer == *p).unwrap();
            found.metrics[0].as_ref().unwrap().value.clone()
        };
        let Ok(chosen) = place(&request, &view) else { return Ok(()) };
        let mut room: BTreeMap<String, usize> = BTreeMap::new();
        for c in view.candidates().filter(|c| view.takes(&c.peer)) {
            *room.entry(zone(&c.peer)).or_default() += 1;
        }
        let mut used: BTreeMap<String, usize> = BTreeMap::new();
        for p in &chosen {
            *used.entry(zone(p)).or_default() += 1;
        }
        let most = used.values().max().copied().unwrap_or(0);
        for (zone, room) in room {
            let here = used.get(&zone).copied().unwrap_or(0);
            prop_assert!(here == room || here + 1 >= most, "zone {zone}: {here}, another {most}");
        }
    }
}
