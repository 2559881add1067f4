//! The repair as it goes on, round after round.

use proptest::{collection::vec, prelude::*};

use super::{GRACE_MS, down, member, world::World};
use crate::{
    command::Command,
    repair::MemberHealth,
    state::{
        query,
        tests::{peer, spec},
    },
};

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
