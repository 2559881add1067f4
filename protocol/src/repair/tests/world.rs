//! A cluster in a box with peers that pin, and a leader that repairs.

use std::collections::{BTreeMap, BTreeSet};

use super::{member, with};
use crate::{
    command::{Command, Outcome},
    id::{PeerId, Seq},
    pin::Pin,
    repair::{MemberHealth, Step, plan, release},
    state::{
        PinSet, System, query,
        tests::{Box3, peer},
    },
};

/// A cluster whose peers pin and unpin as told, and a leader that repairs.
pub(super) struct World {
    pub(super) cluster: Box3,
    pub(super) health: BTreeMap<PeerId, MemberHealth>,
    pub(super) holds: BTreeSet<(PeerId, Seq)>,
    pub(super) copied: usize,
}

impl World {
    pub(super) fn new(members: u8) -> Self {
        let all = (1..=members).map(|n| (peer(n), member(n)));
        Self {
            cluster: Box3::new(members),
            health: all.collect(),
            holds: BTreeSet::new(),
            copied: 0,
        }
    }

    pub(super) fn set(&mut self, member: MemberHealth) {
        self.health.insert(member.peer.clone(), member);
    }

    /// Every peer that is up does what the state wants of it.
    pub(super) fn track(&mut self) {
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
                let as_of = System::load(model).unwrap().rev;
                let (peer, seqs) = (member.peer, gone);
                self.cluster.done(Command::Gone { peer, as_of, seqs });
            }
        }
    }

    /// One round of the leader; how many commands it gave.
    pub(super) fn repair(&mut self) -> usize {
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
    pub(super) fn check_covered(&self, command: &Command) {
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
    pub(super) fn settle(&mut self) {
        for _ in 0..20 {
            self.track();
            if self.repair() == 0 {
                self.track();
                return;
            }
        }
        panic!("the repair does not come to an end");
    }

    pub(super) fn pins(&self) -> Vec<Pin> {
        let all = query::pins(&self.cluster.model, Seq(0), 999, &|_| true);
        all.unwrap().items
    }

    /// Every pin has its copies on peers that are up and stay, as far as there are any.
    pub(super) fn check_settled(&self) {
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
