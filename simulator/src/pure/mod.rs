//! The pure core by itself: state machine, placement, repair, reconcile and status tables in one
//! closed loop, with no async, no network and no disk. A million steps take about a minute.
//!
//! ```text
//!  users, expiry, members ─▶ decide (placement, as the state is now) ─┐
//!  repair: guard, plan, holds?, release ──────────────────────────────┼─▶ queue: late, lost, twice
//!  tracker: desired, observed, plan ─▶ IPFS pins, phases, gone ───────┘        │
//!                                        │                                     ▼
//!                    tables: delta, digest, pull                  apply ─▶ state ─▶ ledger: checks
//! ```
//!
//! The [`Ledger`] keeps its own, much simpler account of what may happen, and says what may not.

mod leader;
mod ledger;
mod peer;
mod settle;
mod tables;

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    codec,
    command::{Command, Entry, Envelope, FEATURE_LEVEL_MAX, Session},
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, LogIndex, PeerId},
    limits::ENTRY_BYTES_MAX,
    state::{Model, apply, check_invariants},
    time::Timestamp,
};

use self::{ledger::Ledger, peer::Node, tables::Tables};
use crate::{invariants::Violation, workload::cid, world::Rng};

/// Peers that ever take part.
const PEERS: usize = 7;
/// Of them, members at the start.
const MEMBERS: usize = 5;
/// Different CIDs.
const CIDS: u64 = 24;
/// Commands decided and not yet in the log.
const QUEUE_MAX: usize = 12;
/// Between two looks at the whole state.
const LOOK_EVERY: u64 = 64;
/// Between two times of calm, after which everything must be well.
const CALM_EVERY: u64 = 4_000;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Steps taken.
    pub steps: u64,
    /// Commands applied.
    pub applied: u64,
    /// What did not hold.
    pub violation: Option<Violation>,
}

/// Runs so many random steps from a seed.
#[must_use]
pub fn run(seed: u64, steps: u64) -> Outcome {
    let mut world = World::new(seed);
    let mut taken = 0;
    let violation = (0..steps).find_map(|step| {
        taken = step + 1;
        world.step(step).err()
    });
    Outcome {
        steps: taken,
        applied: world.ledger.applied(),
        violation,
    }
}

fn violated(property: &'static str, what: String) -> Violation {
    Violation { property, what }
}

type Checked = Result<(), Violation>;

/// A cluster without a network.
#[derive(Debug)]
struct World {
    rng: Rng,
    model: Model,
    index: u64,
    /// Milliseconds, as a right clock shows them.
    clock: u64,
    nodes: Vec<Node>,
    tables: Tables,
    queue: Vec<Envelope>,
    /// The last envelopes that were delivered.
    delivered: Vec<Envelope>,
    /// Per origin, the last number of its session.
    numbers: BTreeMap<PeerId, u64>,
    ledger: Ledger,
}

/// The peer of a small number.
fn peer_id(number: usize) -> Option<PeerId> {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([u8::try_from(number).ok()?; 32]);
    PeerId::from_bytes(&bytes).ok()
}

impl World {
    fn new(seed: u64) -> Self {
        let ids = (1..=PEERS).filter_map(peer_id);
        let mut world = Self {
            rng: Rng::new(seed, "pure"),
            model: Model::default(),
            index: 0,
            clock: 1_000_000,
            nodes: ids.map(Node::new).collect(),
            tables: Tables::default(),
            queue: Vec::new(),
            delivered: Vec::new(),
            numbers: BTreeMap::new(),
            ledger: Ledger::default(),
        };
        let first = Command::Init {
            cluster: ClusterId([7; 16]),
            epoch: Epoch(1),
        };
        world.decide(0, first);
        for node in 0..MEMBERS {
            world.deliver_all();
            world.admit(node);
        }
        world.deliver_all();
        let level = FEATURE_LEVEL_MAX;
        world.decide(0, Command::FeatureLevel { level });
        world.deliver_all();
        world
    }

    /// One thing happens.
    fn step(&mut self, step: u64) -> Checked {
        self.clock += self.rng.between(0, 200);
        match self.rng.between(0, 99) {
            0..=9 => self.pin(),
            10..=13 => self.unpin(),
            14..=15 => self.expire(),
            16..=37 => self.deliver()?,
            38..=40 => self.repeat(),
            41..=62 => self.track()?,
            63..=76 => self.repair()?,
            77..=90 => self.gossip(),
            91..=95 => self.health(),
            96 => self.membership(),
            97 => self.foreign(),
            _ => self.lose(),
        }
        while self.queue.len() > QUEUE_MAX {
            self.deliver()?;
        }
        if step.is_multiple_of(LOOK_EVERY) {
            check_invariants(&self.model)
                .map_err(|fault| violated("sound-state", format!("{fault:?}")))?;
            self.ledger.check_sizes(&self.model)?;
        }
        if step % CALM_EVERY == CALM_EVERY - 1 {
            self.calm()?;
        }
        Ok(())
    }

    fn any_cid(&mut self) -> Cid {
        let number = self.rng.between(1, CIDS);
        cid(number).unwrap_or_else(|| unreachable!("every number makes a CID"))
    }

    /// One of the members, by its place; the first when there is none.
    fn any_member(&mut self) -> usize {
        let members: Vec<usize> = self.members();
        self.rng.pick(&members).copied().unwrap_or(0)
    }

    /// Members, as the last command decided says.
    fn members(&self) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, n)| n.member).map(|(at, _)| at).collect()
    }

    /// Puts a command under way, in the session of a peer.
    fn decide(&mut self, origin: usize, command: Command) {
        let Some(node) = self.nodes.get(origin) else {
            return;
        };
        let origin = node.id.clone();
        let n = self.numbers.entry(origin.clone()).or_default();
        *n += 1;
        let session = Session {
            origin,
            boot: Boot(1),
            n: *n,
            floor: n.saturating_sub(200),
        };
        self.queue.push(Envelope { session, command });
    }

    /// Something under way gets into the log: not in the order in which it was decided.
    fn deliver(&mut self) -> Checked {
        let mut commands = Vec::new();
        for _ in 0..self.rng.between(1, 3) {
            if self.queue.is_empty() {
                break;
            }
            let last = self.queue.len() as u64 - 1;
            let at = usize::try_from(self.rng.between(0, last)).unwrap_or(0);
            commands.push(self.queue.swap_remove(at));
        }
        self.apply(commands)
    }

    fn deliver_all(&mut self) {
        while !self.queue.is_empty() {
            let next = self.queue.remove(0);
            // What does not hold here shows in the next step.
            let _ = self.apply(vec![next]);
        }
    }

    fn apply(&mut self, commands: Vec<Envelope>) -> Checked {
        if commands.is_empty() {
            return Ok(());
        }
        self.index += 1;
        // Leaders' clocks differ by up to a minute.
        let at = Timestamp(self.clock + self.rng.between(0, 60_000));
        let entry = Entry { at, commands };
        let bytes = codec::encode(&entry);
        let entry: Entry =
            codec::decode(&bytes, ENTRY_BYTES_MAX).map_err(|e| violated("codec", e.to_string()))?;
        let before = self.ledger.pins(&self.model)?;
        let applied = apply(&mut self.model, LogIndex(self.index), &entry)
            .map_err(|e| violated("apply-is-total", e.to_string()))?;
        self.ledger.check(&entry, &applied, &before, &self.nodes)?;
        self.delivered.extend(entry.commands);
        let old = self.delivered.len().saturating_sub(20);
        self.delivered.drain(..old);
        Ok(())
    }

    /// A command comes a second time: its origin had no answer.
    fn repeat(&mut self) {
        if let Some(envelope) = self.rng.pick(&self.delivered).cloned() {
            self.queue.push(envelope);
        }
    }

    /// A command gets lost.
    fn lose(&mut self) {
        self.queue.pop();
    }

    fn admit(&mut self, node: usize) {
        let Some(joins) = self.nodes.get_mut(node) else {
            return;
        };
        let incarnation = Incarnation(self.index + 1);
        joins.begin(incarnation);
        let peer = joins.id.clone();
        // What its former life had under way is refused with the streams of that life.
        let others = |envelope: &Envelope| envelope.session.origin != peer;
        self.queue.retain(others);
        self.delivered.retain(others);
        self.tables.forget(node);
        self.decide(
            0,
            Command::AddMember {
                peer,
                incarnation,
                name: format!("peer {}", node + 1),
                labels: BTreeMap::new(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_keeps_its_promises_over_random_steps() {
        for seed in 0..4 {
            let outcome = run(seed, 12_000);
            assert_eq!(outcome.violation, None, "seed {seed}");
            assert!(outcome.applied > 2_000, "{outcome:?}");
        }
    }

    #[test]
    fn a_seed_is_a_run() {
        let one = run(9, 3_000);
        assert_eq!(one.applied, run(9, 3_000).applied);
        assert_ne!(one.applied, run(10, 3_000).applied);
    }
}
