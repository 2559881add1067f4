//! The planner by example, and in a closed loop with the state machine and peers that pin.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::{Guard, MemberHealth, Pause, Situation, Step, Urgency, assess, guard, plan, release};
use crate::{
    command::{Command, Outcome},
    id::{PeerId, Rev, Seq},
    pin::Pin,
    placement::{CandidateView, Standing},
    state::{
        PinSet, query,
        tests::{Box3, peer, peers, spec},
    },
    time::Timestamp,
};

const GRACE_MS: u64 = 1000;

fn member(n: u8) -> MemberHealth {
    MemberHealth {
        peer: peer(n),
        down_for_ms: None,
        draining: false,
        answers: true,
    }
}

fn down(n: u8, ms: u64) -> MemberHealth {
    MemberHealth {
        down_for_ms: Some(ms),
        answers: false,
        ..member(n)
    }
}

fn view_of(members: &[MemberHealth]) -> CandidateView {
    let mut view = CandidateView::new(Vec::new());
    for member in members {
        let standing = match (member.down_for_ms, member.draining) {
            (Some(_), _) => Standing::Down,
            (None, true) => Standing::Draining,
            (None, false) => Standing::Up,
        };
        view.add(member.peer.clone(), standing, 0, |_| None);
    }
    view
}

fn pin(n: u8, (min, max): (i32, i32), copies: u32, on: &[u8]) -> Pin {
    Pin {
        seq: Seq(u64::from(n)),
        rev: Rev(9),
        spec: spec(n, min, max),
        allocations: peers(on),
        copies,
        timestamp: Timestamp(0),
    }
}

/// Calls with the situation of these members.
fn with<T>(members: &[MemberHealth], act: impl FnOnce(&Situation<'_>) -> T) -> T {
    let guard = guard(members, false);
    let view = view_of(members);
    act(&Situation::new(members, GRACE_MS, &guard, &view))
}

fn urgency(pin: &Pin, members: &[MemberHealth]) -> Option<Urgency> {
    with(members, |situation| {
        assess(pin, situation).map(|need| need.urgency)
    })
}

#[test]
fn the_guard_pauses_when_too_much_is_missing() {
    let all: Vec<_> = (1..=6).map(member).collect();
    let with_down = |numbers: &[u8]| {
        let mut members = all.clone();
        for n in numbers {
            members[usize::from(*n) - 1] = down(*n, 1);
        }
        guard(&members, false)
    };
    assert_eq!(with_down(&[1, 2]), Guard::Proceed);
    let reason = Pause::TooManyDown {
        down: 3,
        allowed: 2,
    };
    let paused = peers(&[1, 2, 5]);
    assert_eq!(
        with_down(&[1, 2, 5]),
        Guard::Paused {
            reason,
            peers: paused
        }
    );
    let mut silent = all.clone();
    for member in &mut silent[..3] {
        member.answers = false;
    }
    let reason = Pause::TooFewAnswer {
        answering: 3,
        members: 6,
    };
    let quiet = peers(&[1, 2, 3]);
    assert_eq!(
        guard(&silent, false),
        Guard::Paused {
            reason,
            peers: quiet
        }
    );
    assert_eq!(guard(&silent, true), Guard::Proceed);
    assert_eq!(
        guard(&[down(1, 1), member(2), member(3)], false),
        Guard::Proceed
    );
}

#[test]
fn nothing_is_needed_within_the_grace_or_when_all_is_well() {
    let fine = [member(1), member(2), member(3)];
    let blip = [down(1, GRACE_MS - 1), member(2), member(3)];
    let lost = [down(1, GRACE_MS), member(2), member(3)];
    let two = pin(1, (2, 2), 2, &[1, 2]);
    assert_eq!(urgency(&two, &fine), None);
    assert_eq!(urgency(&two, &blip), None);
    assert_eq!(urgency(&two, &lost), Some(Urgency::LastCopy));
    let everywhere = pin(1, (-1, -1), 0, &[]);
    assert_eq!(urgency(&everywhere, &lost), None);
}

#[test]
fn urgency_says_how_many_copies_are_left() {
    let mut members: Vec<_> = (1..=7).map(member).collect();
    members[0] = down(1, GRACE_MS);
    members[1].draining = true;
    for (factors, copies, on, expected) in [
        ((3, 3), 3, &[1, 3, 4][..], Urgency::BelowMinimum),
        ((1, 3), 3, &[1, 3, 4], Urgency::BelowCopies),
        ((1, 3), 2, &[1, 3], Urgency::LastCopy),
        ((1, 3), 2, &[2, 3], Urgency::Draining),
        ((1, 3), 2, &[3, 4, 5], Urgency::Surplus),
        // one was removed with its member
        ((1, 3), 3, &[3, 4], Urgency::BelowCopies),
    ] {
        assert_eq!(
            urgency(&pin(1, factors, copies, on), &members),
            Some(expected)
        );
    }
}

#[test]
fn the_most_at_risk_come_first_and_the_budget_holds() {
    let mut members: Vec<_> = (1..=7).map(member).collect();
    members[0] = down(1, GRACE_MS);
    members[1].draining = true;
    let pins = [
        pin(1, (1, 3), 2, &[2, 3]),
        pin(2, (1, 3), 3, &[1, 3, 4]),
        pin(3, (1, 3), 2, &[1, 3]),
        pin(4, (1, 2), 2, &[3, 4, 5]),
    ];
    let planned = with(&members, |situation| plan(&pins, situation, false, 2));
    let made: Vec<_> = planned.steps.iter().map(|(urgency, _)| *urgency).collect();
    assert_eq!(
        made,
        [Urgency::LastCopy, Urgency::BelowCopies, Urgency::Surplus]
    );
    assert_eq!(planned.waiting, [(Seq(1), Urgency::Draining)]);
    let (_, Step::Make(command)) = &planned.steps[0] else {
        panic!("{planned:?}");
    };
    let Command::Place {
        seq,
        allocations,
        confirmed,
        ..
    } = &**command
    else {
        panic!("{command:?}");
    };
    assert_eq!((*seq, &allocations[..2]), (Seq(3), &peers(&[1, 3])[..]));
    assert_eq!((allocations.len(), confirmed.len()), (3, 0));
}

#[test]
fn a_paused_repair_still_saves_last_copies() {
    let members = [down(1, GRACE_MS), down(2, GRACE_MS), member(3), member(4)];
    let pins = [pin(1, (1, 3), 3, &[1, 3, 4]), pin(2, (2, 2), 2, &[1, 3])];
    let planned = with(&members, |situation| plan(&pins, situation, false, 9));
    assert_eq!(planned.waiting, [(Seq(1), Urgency::BelowCopies)]);
    assert!(matches!(
        &planned.steps[..],
        [(Urgency::LastCopy, Step::Make(_))]
    ));
}

#[test]
fn nobody_is_released_before_the_others_confirm() {
    let members = [down(1, GRACE_MS), member(2), member(3)];
    let moved = pin(1, (2, 2), 2, &[1, 2, 3]);
    with(&members, |situation| {
        let planned = plan(std::slice::from_ref(&moved), situation, false, 0);
        let [(_, Step::Release(asked))] = &planned.steps[..] else {
            panic!("{planned:?}");
        };
        assert_eq!(asked.ask, peers(&[2, 3]));
        assert_eq!(release(&moved, situation, &peers(&[2])), None);
        assert_eq!(release(&moved, situation, &peers(&[1, 2])), None);
        let Some(Command::Place {
            allocations,
            confirmed,
            ..
        }) = release(&moved, situation, &peers(&[2, 3]))
        else {
            panic!("not released");
        };
        assert_eq!((allocations, confirmed), (peers(&[2, 3]), peers(&[2, 3])));
    });
}

#[test]
fn a_drain_that_nobody_can_take_over_ends_at_the_minimum() {
    let mut members = [member(1), member(2), member(3)];
    members[0].draining = true;
    let enough = pin(1, (1, 3), 3, &[1, 2, 3]);
    let scarce = pin(2, (3, 3), 3, &[1, 2, 3]);
    with(&members, |situation| {
        let planned = plan(&[enough.clone(), scarce.clone()], situation, false, 9);
        assert_eq!(planned.stuck.len(), 2);
        assert_eq!(planned.steps.len(), 1, "only the first can be released");
        assert_eq!(release(&enough, situation, &peers(&[2])), None);
        assert!(release(&enough, situation, &peers(&[2, 3])).is_some());
        assert_eq!(release(&scarce, situation, &peers(&[2, 3])), None);
    });
}

/// A cluster whose peers pin and unpin as told, and a leader that repairs.
struct World {
    cluster: Box3,
    health: BTreeMap<PeerId, MemberHealth>,
    holds: BTreeSet<(PeerId, Seq)>,
    copied: usize,
}

impl World {
    fn new(members: u8) -> Self {
        let all = (1..=members).map(|n| (peer(n), member(n)));
        Self {
            cluster: Box3::new(members),
            health: all.collect(),
            holds: BTreeSet::new(),
            copied: 0,
        }
    }

    fn set(&mut self, member: MemberHealth) {
        self.health.insert(member.peer.clone(), member);
    }

    /// Every peer that is up does what the state wants of it.
    fn track(&mut self) {
        for member in query::members(&self.cluster.model).unwrap() {
            if self.health[&member.peer].down_for_ms.is_some() {
                continue;
            }
            let model = &self.cluster.model;
            for seq in query::to_hold(model, member.no, Seq(0), 999).unwrap().items {
                let new = self.holds.insert((member.peer.clone(), seq));
                self.copied += usize::from(new);
            }
            let gone = query::to_unpin(model, member.no, Seq(0), 999)
                .unwrap()
                .items;
            for seq in &gone {
                self.holds.remove(&(member.peer.clone(), *seq));
            }
            if !gone.is_empty() {
                let as_of = crate::state::System::load(model).unwrap().rev;
                let (peer, seqs) = (member.peer, gone);
                self.cluster.done(Command::Gone { peer, as_of, seqs });
            }
        }
    }

    /// One round of the leader; how many commands it gave.
    fn repair(&mut self) -> usize {
        let model = &self.cluster.model;
        let members: Vec<_> = self.health.values().cloned().collect();
        let mut sets = vec![(PinSet::Unsettled, false)];
        for member in query::members(model).unwrap() {
            sets.push((PinSet::Allocated(member.no), false));
        }
        for gone in query::departed(model).unwrap() {
            sets.push((PinSet::Allocated(gone.no), true));
        }
        let mut commands = Vec::new();
        with(&members, |situation| {
            for (set, departed) in sets {
                let pins = query::pins_of(model, set, Seq(0), 999).unwrap().items;
                for (_, step) in plan(&pins, situation, departed, 999).steps {
                    commands.extend(match step {
                        Step::Make(command) => Some(*command),
                        Step::Release(asked) => {
                            let pin = pins.iter().find(|pin| pin.seq == asked.seq).unwrap();
                            let holds = |p: &&PeerId| self.holds.contains(&((*p).clone(), pin.seq));
                            let sure: Vec<_> = asked.ask.iter().filter(holds).cloned().collect();
                            release(pin, situation, &sure)
                        }
                    });
                }
            }
        });
        for gone in query::departed(model)
            .unwrap()
            .iter()
            .filter(|d| d.to_sweep)
        {
            commands.push(Command::Sweep { member: gone.no });
        }
        let mut given = 0;
        for command in commands {
            self.check_covered(&command);
            match self.cluster.run(command) {
                Outcome::Applied { .. } => given += 1,
                // The same pin was in two sets: the second decision is from before the first.
                Outcome::Conflict { .. } => {}
                bad => panic!("a bad plan: {bad:?}"),
            }
        }
        given
    }

    /// Who is let go leaves the minimum behind, on peers that really have it.
    fn check_covered(&self, command: &Command) {
        let Command::Place {
            seq, allocations, ..
        } = command
        else {
            return;
        };
        let found = self.pins().into_iter().find(|pin| pin.seq == *seq);
        let pin = found.expect("only live pins are placed");
        let have = |p: &&PeerId| self.holds.contains(&((*p).clone(), *seq));
        if pin.allocations.iter().any(|p| !allocations.contains(p)) {
            let left = allocations.iter().filter(have).count();
            assert!(
                i32::try_from(left).unwrap() >= pin.spec.replication.min(),
                "{command:?}"
            );
        }
    }

    /// Rounds until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.track();
            if self.repair() == 0 {
                self.track();
                return;
            }
        }
        panic!("the repair does not come to an end");
    }

    fn pins(&self) -> Vec<Pin> {
        let all = query::pins(&self.cluster.model, Seq(0), 999, &|_| true);
        all.unwrap().items
    }

    /// Every pin has its copies on peers that are up and stay, as far as there are any.
    fn check_settled(&self) {
        let stay = |m: &&MemberHealth| m.down_for_ms.is_none() && !m.draining;
        let able = self.health.values().filter(stay).count();
        for pin in self.pins() {
            let wanted = usize::try_from(pin.copies).unwrap();
            let good = pin.allocations.iter().filter(|p| {
                stay(&&self.health[*p]) && self.holds.contains(&((*p).clone(), pin.seq))
            });
            let good = good.count();
            assert_eq!(good, wanted.min(able), "{pin:?}");
            if able >= wanted {
                assert_eq!(pin.allocations.len(), wanted, "{pin:?}");
            }
        }
    }
}

fn world_with_pins() -> World {
    let mut world = World::new(5);
    for n in 1..=30 {
        let on = [1 + n % 5, 1 + (n + 1) % 5];
        world.cluster.pin(spec(n, 1, 3), &on);
    }
    world.settle();
    world.check_settled();
    world.copied = 0;
    world
}

#[test]
fn what_a_dead_peer_held_is_copied_once_and_no_more() {
    let mut world = world_with_pins();
    world.set(down(2, GRACE_MS));
    world.settle();
    world.check_settled();
    assert_eq!(world.copied, 12, "a fifth of 60 copies was lost");
    // It comes back and lets go of what others hold now.
    world.set(member(2));
    world.settle();
    world.check_settled();
    assert_eq!(world.copied, 12);
    let held = world.holds.iter().filter(|(p, _)| *p == peer(2)).count();
    assert_eq!(held, 0);
}

#[test]
fn a_flapping_peer_moves_nothing() {
    let mut world = world_with_pins();
    for _ in 0..50 {
        world.set(down(2, GRACE_MS - 1));
        world.settle();
        world.set(member(2));
        world.settle();
    }
    assert_eq!(world.copied, 0);
}

#[test]
fn a_peer_back_before_its_release_ends_the_repair() {
    let mut world = world_with_pins();
    world.set(down(2, GRACE_MS));
    assert!(world.repair() > 0, "replacements are allocated");
    world.set(member(2));
    world.settle();
    world.check_settled();
}

#[test]
fn a_drained_peer_ends_without_pins_and_can_go() {
    let mut world = world_with_pins();
    let draining = true;
    world.set(MemberHealth {
        draining,
        ..member(3)
    });
    world.settle();
    world.check_settled();
    assert_eq!(world.copied, 12);
    let force = false;
    world.cluster.done(Command::RemoveMember {
        peer: peer(3),
        force,
    });
    assert_eq!(query::departed(&world.cluster.model).unwrap(), []);
}

#[test]
fn a_removed_peer_is_made_up_for_and_forgotten() {
    let mut world = world_with_pins();
    let force = true;
    world.cluster.done(Command::RemoveMember {
        peer: peer(3),
        force,
    });
    world.health.remove(&peer(3));
    world.settle();
    world.check_settled();
    assert_eq!(world.copied, 12);
    assert_eq!(query::departed(&world.cluster.model).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_copies_come_back_and_none_is_let_go_uncovered(
        pins in vec((1..4i32, 0..3i32, vec(1..=6u8, 3..5)), 1..12),
        events in vec((1..=6u8, 0..5u8, 0..3u8), 0..8),
    ) {
        let mut world = World::new(6);
        for ((min, more, mut on), n) in pins.into_iter().zip(1..) {
            on.sort_unstable();
            on.dedup();
            on.truncate(usize::try_from(min + more).unwrap());
            let min = min.min(i32::try_from(on.len()).unwrap());
            world.cluster.pin(spec(n, min, min + more), &on);
        }
        world.settle();
        for (n, what, rounds) in events {
            if !world.health.contains_key(&peer(n)) {
                continue;
            }
            let others = world.health.values().filter(|m| m.peer != peer(n) && m.down_for_ms.is_none());
            let enough = others.count() >= 4;
            match what {
                0 if enough => world.set(down(n, GRACE_MS)),
                1 if enough => world.set(down(n, 1)),
                2 => world.set(MemberHealth { draining: true, ..member(n) }),
                // Peer 1 is the leader.
                3 if enough && n != 1 && world.health.len() > 4 => {
                    world.cluster.done(Command::RemoveMember { peer: peer(n), force: true });
                    world.health.remove(&peer(n));
                }
                _ => world.set(member(n)),
            }
            for _ in 0..rounds {
                world.track();
                world.repair();
            }
        }
        // All that is left comes back and stays; what was promised is there again.
        for member in world.health.values_mut() {
            (member.down_for_ms, member.draining, member.answers) = (None, false, true);
        }
        world.settle();
        world.check_settled();
    }
}
