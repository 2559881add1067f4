//! Random histories: stale decisions, repeats, changes of the membership, in any order.
//!
//! `CORE_STEPS` sets how many commands the long run takes; the seed is printed when it fails.

use std::{
    collections::{BTreeMap, HashSet},
    mem::Discriminant,
};

use proptest::{collection::vec, prelude::*};

use super::{Box3, cid, hash, peer};
use crate::{
    codec,
    command::{Command, Entry, Envelope, FEATURE_LEVEL_MAX, IfRev, LearntSize, Outcome, Session},
    id::{Boot, Epoch, Incarnation, LogIndex, MemberNo, PeerId, Rev, Seq},
    limits::ENTRY_BYTES_MAX,
    pin::{Pin, PinMode, PinSpec, PinType, Replication},
    request::{RequestId, RequestKey},
    state::{Model, System, apply, check_invariants, query},
    time::Timestamp,
};

const PEERS: u8 = 6;
const CIDS: u8 = 8;

fn any_peer() -> impl Strategy<Value = PeerId> {
    (1..=PEERS).prop_map(peer)
}

fn some_peers() -> impl Strategy<Value = Vec<PeerId>> {
    vec(any_peer(), 0..5)
}

fn any_spec() -> impl Strategy<Value = PinSpec> {
    let factor = prop_oneof![
        1 => Just((-1, -1)),
        5 => (1..4i32, 0..3i32).prop_map(|(a, b)| (a, a + b))
    ];
    let texts = (0..3usize, 0..3usize, proptest::option::of(0..4_000_000u64));
    (1..=CIDS, factor, texts, 0..12u8).prop_map(|(c, (min, max), (name, meta, expiry), odd)| {
        let mut spec = PinSpec::new(cid(c), Replication::new(min, max).unwrap());
        spec.name = "n".repeat(name);
        spec.metadata = (0..meta).map(|i| (format!("k{i}"), "v".into())).collect();
        spec.expire_at = expiry.map(Timestamp);
        match odd {
            0 => spec.mode = PinMode::Direct,
            1 => spec.pin_type = PinType::Meta,
            2 => spec.pin_type = PinType::Shard,
            _ => {}
        }
        spec
    })
}

fn any_key() -> impl Strategy<Value = Option<RequestKey>> {
    prop_oneof![
        3 => Just(None),
        2 => (1..60u64).prop_map(|id| Some(RequestKey::Id(RequestId(id)))),
        1 => (1..=CIDS).prop_map(|c| Some(RequestKey::Cid(cid(c)))),
    ]
}

/// A decision as it may reach the log: from a state that `age` says how old it is.
#[derive(Debug, Clone)]
enum Act {
    Command(Command),
    /// A placement decided from a pin as it is now (0) or from another rev.
    Place {
        pin: u8,
        on: Vec<PeerId>,
        confirmed: Vec<PeerId>,
        age: u64,
    },
    Pin {
        spec: PinSpec,
        on: Vec<PeerId>,
        age: u64,
    },
    Expire {
        pin: u8,
        age: u64,
    },
    Gone {
        peer: PeerId,
        age: u64,
        all: bool,
    },
    Sized {
        pin: u8,
        age: u64,
        bytes: u64,
    },
    Sweep,
    Request {
        id: u64,
        spec: PinSpec,
        on: Vec<PeerId>,
        replaces: Option<RequestKey>,
    },
    /// One of the last envelopes once more.
    Repeat {
        back: usize,
    },
}

fn any_act() -> impl Strategy<Value = Act> {
    let age = || prop_oneof![4 => Just(0u64), 1 => 1..20u64];
    prop_oneof![
        6 => (any_spec(), some_peers(), age())
            .prop_map(|(spec, on, age)| Act::Pin { spec, on, age }),
        5 => (1..=CIDS, some_peers(), some_peers(), age())
            .prop_map(|(pin, on, confirmed, age)| Act::Place { pin, on, confirmed, age }),
        2 => (1..=CIDS).prop_map(|c| Act::Command(Command::Unpin { cid: cid(c) })),
        1 => (1..=CIDS, age()).prop_map(|(pin, age)| Act::Expire { pin, age }),
        4 => (any_peer(), age(), any::<bool>())
            .prop_map(|(peer, age, all)| Act::Gone { peer, age, all }),
        2 => (1..=CIDS, age(), 0..5u64)
            .prop_map(|(pin, age, bytes)| Act::Sized { pin, age, bytes }),
        1 => Just(Act::Sweep),
        3 => (1..60u64, any_spec(), some_peers(), any_key())
            .prop_map(|(id, spec, on, replaces)| Act::Request { id, spec, on, replaces }),
        2 => (1..60u64).prop_map(|id| Act::Command(Command::Withdraw { id: RequestId(id) })),
        2 => (0..6usize).prop_map(|back| Act::Repeat { back }),
        2 => (any_peer(), 1..500u64).prop_map(|(peer, life)| Act::Command(Command::AddMember {
            peer,
            incarnation: Incarnation(life),
            name: "p".into(),
            labels: BTreeMap::new(),
        })),
        1 => (any_peer(), any::<bool>())
            .prop_map(|(peer, force)| Act::Command(Command::RemoveMember { peer, force })),
        1 => (any_peer(), any::<bool>())
            .prop_map(|(peer, on)| Act::Command(Command::Drain { peer, on })),
        1 => any_peer().prop_map(|peer| Act::Command(Command::Down { peer })),
        1 => any_peer().prop_map(|peer| Act::Command(Command::Up { peer })),
        1 => (any_peer(), "[a-z]{0,9}").prop_map(|(peer, name)| Act::Command(Command::Describe {
            peer,
            name,
            labels: BTreeMap::new(),
        })),
        1 => (0..3u64).prop_map(|e| Act::Command(Command::RaiseEpoch { epoch: Epoch(e) })),
    ]
}

/// The model under test and its twin, fed the same entries through the codec.
struct Twins {
    first: Box3,
    second: Model,
    index: u64,
    clock: u64,
    n: u64,
    sent: Vec<Envelope>,
    /// The kinds of commands that were applied at least once.
    done: HashSet<Discriminant<Command>>,
}

impl Twins {
    fn new() -> Self {
        let mut first = Box3::new(3);
        first.done(Command::FeatureLevel {
            level: FEATURE_LEVEL_MAX,
        });
        let second = first.model.clone();
        Self {
            first,
            second,
            index: 1000,
            clock: 1_500_000,
            n: 1000,
            sent: Vec::new(),
            done: HashSet::new(),
        }
    }

    /// Mostly members, so that most commands get somewhere; sometimes whoever was drawn.
    fn mostly_members(&self, drawn: Vec<PeerId>) -> Vec<PeerId> {
        let members = query::members(&self.first.model).unwrap();
        let pick = |peer: PeerId| {
            let lot = usize::from(peer.as_bytes()[2]);
            let strange = (self.n + lot as u64).is_multiple_of(17);
            let member = &members[(lot + self.index as usize) % members.len()];
            if strange { peer } else { member.peer.clone() }
        };
        drawn.into_iter().map(pick).collect()
    }

    fn pin(&self, spec: PinSpec, on: Vec<PeerId>, age: u64) -> Command {
        let live = query::pin_by_cid(&self.first.model, &spec.cid).unwrap();
        let if_rev = match (live, age) {
            (_, 7) => IfRev::Any,
            (Some(pin), age) => IfRev::Is(Rev(pin.rev.0.saturating_sub(age))),
            (None, _) => IfRev::Absent,
        };
        let allocations = self.mostly_members(on);
        Command::Pin {
            spec,
            allocations,
            if_rev,
        }
    }

    fn decide(&self, act: Act) -> Option<Command> {
        let model = &self.first.model;
        let get = |c| query::pin_by_cid(model, &cid(c)).unwrap();
        let older = |rev: Rev, age| Rev(rev.0.saturating_sub(age));
        Some(match act {
            Act::Command(command) => command,
            Act::Pin { spec, on, age } => self.pin(spec, on, age),
            Act::Place {
                pin,
                on,
                confirmed,
                age,
            } => {
                let pin = get(pin)?;
                let (seq, if_rev) = (pin.seq, older(pin.rev, age));
                let allocations = self.mostly_members(on);
                // Half of the peers asked say yes, whoever that is.
                let mut confirmed = self.mostly_members(confirmed);
                confirmed.extend(allocations.iter().step_by(2).cloned());
                Command::Place {
                    seq,
                    if_rev,
                    allocations,
                    confirmed,
                }
            }
            Act::Expire { pin, age } => {
                let pin = get(pin)?;
                let if_rev = older(pin.rev, age);
                Command::Expire {
                    seq: pin.seq,
                    if_rev,
                }
            }
            Act::Gone { peer, age, all } => {
                let as_of = older(System::load(model).unwrap().rev, age);
                let member = query::member(model, &peer).unwrap();
                let to_unpin = |m: super::super::Member| {
                    query::to_unpin(model, m.no, Seq(0), 50).unwrap().items
                };
                let some = member.map_or(Vec::new(), to_unpin);
                let seqs = if all {
                    (0..20).map(Seq).collect()
                } else {
                    some
                };
                Command::Gone { peer, as_of, seqs }
            }
            Act::Sized { pin, age, bytes } => {
                let pin = get(pin)?;
                let sizes = vec![(pin.seq, older(pin.rev, age), bytes).into()];
                Command::Sized { sizes }
            }
            Act::Request {
                id,
                spec,
                on,
                replaces,
            } => Command::Request {
                id: RequestId(id),
                spec,
                allocations: self.mostly_members(on),
                if_rev: IfRev::Any,
                replaces,
            },
            Act::Sweep => {
                let gone = query::departed(model).unwrap();
                let member = gone.first().map_or(MemberNo(1), |d| d.no);
                Command::Sweep { member }
            }
            Act::Repeat { .. } => return None,
        })
    }

    fn envelope(&mut self, act: Act) -> Option<Envelope> {
        if let Act::Repeat { back } = act {
            let at = self.sent.len().checked_sub(back + 1)?;
            return self.sent.get(at).cloned();
        }
        let command = self.decide(act)?;
        self.n += 1;
        let drawn = peer(1 + (self.n % u64::from(PEERS)) as u8);
        let origin = self.mostly_members(vec![drawn]).remove(0);
        let session = Session {
            origin,
            boot: Boot(1 + self.n / 300),
            n: self.n,
            floor: self.n.saturating_sub(20),
        };
        let envelope = Envelope { session, command };
        self.sent.push(envelope.clone());
        Some(envelope)
    }

    fn step(&mut self, acts: Vec<Act>) -> Result<(), TestCaseError> {
        let mut commands = Vec::new();
        for act in acts {
            commands.extend(self.envelope(act));
        }
        self.index += 1;
        self.clock += 10_000;
        let entry = Entry {
            at: Timestamp(self.clock),
            commands,
        };
        let before = copies(&self.first.model);
        let pins = live(&self.first.model);
        let first = apply(&mut self.first.model, LogIndex(self.index), &entry).unwrap();
        let wire = codec::encode(&entry);
        let read: Entry = codec::decode(&wire, ENTRY_BYTES_MAX).unwrap();
        prop_assert_eq!(&read, &entry);
        let second = apply(&mut self.second, LogIndex(self.index), &read).unwrap();
        for (outcome, envelope) in first.outcomes.iter().zip(&entry.commands) {
            if matches!(outcome, Outcome::Applied { .. }) {
                self.done.insert(std::mem::discriminant(&envelope.command));
            }
        }
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(&self.first.model, &self.second);
        prop_assert_eq!(hash(&self.second), first.hash);
        check_invariants(&self.first.model)
            .map_err(|violation| TestCaseError::fail(violation.to_string()))?;
        self.check_outcomes(&first.outcomes, &entry, first.rev_before, first.rev)?;
        if let [only] = &entry.commands[..] {
            self.check_sized(only, &pins)?;
            self.check_covered(only, &before)?;
        }
        Ok(())
    }

    /// Revs are dense and nothing that was refused used one up.
    fn check_outcomes(
        &self,
        outcomes: &[Outcome],
        entry: &Entry,
        before: Rev,
        after: Rev,
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(outcomes.len(), entry.commands.len());
        let mut next = before;
        for outcome in outcomes {
            if let Outcome::Applied { rev } = outcome {
                next = next.next();
                prop_assert_eq!(*rev, next);
            }
            if let Outcome::AlreadyAt { rev } = outcome {
                prop_assert!(*rev <= next);
            }
        }
        prop_assert_eq!(next, after);
        Ok(())
    }

    /// A learnt size changes nothing but the size of pins that had none, and no pin loses its size.
    fn check_sized(&self, envelope: &Envelope, before: &[Pin]) -> Result<(), TestCaseError> {
        let after = live(&self.first.model);
        let sizes = match &envelope.command {
            Command::Sized { sizes } => &sizes[..],
            _ => {
                for pin in before {
                    let same = |now: &&Pin| now.seq == pin.seq && now.spec.mode == pin.spec.mode;
                    if let Some(now) = after.iter().find(same) {
                        prop_assert_eq!(now.spec.size, pin.spec.size);
                    }
                }
                return Ok(());
            }
        };
        let mut expected = before.to_vec();
        for pin in &mut expected {
            let of_it = |s: &&LearntSize| s.seq == pin.seq && s.rev == pin.rev;
            if let Some(size) = sizes.iter().find(of_it)
                && pin.spec.learns_size()
            {
                pin.spec.size = size.bytes;
            }
        }
        // Or it was refused, or is a repeat.
        prop_assert!(after == expected || after == before);
        Ok(())
    }

    /// One command alone lets a holder go only for an unpin, an expiry, a removal of the member, or
    /// a `place` with enough confirmations.
    fn check_covered(
        &self,
        envelope: &Envelope,
        before: &BTreeMap<Seq, Vec<PeerId>>,
    ) -> Result<(), TestCaseError> {
        let after = copies(&self.first.model);
        for (seq, held) in before {
            let Some(now) = after.get(seq) else { continue };
            let left: Vec<_> = held.iter().filter(|p| !now.contains(p)).collect();
            if left.is_empty() {
                continue;
            }
            match &envelope.command {
                Command::RemoveMember { peer, .. } => prop_assert_eq!(left, vec![peer]),
                Command::Place { confirmed, .. } => {
                    let sure = now.iter().filter(|p| confirmed.contains(p)).count();
                    prop_assert!(sure >= 1, "{} left uncovered", seq);
                }
                other => prop_assert!(false, "{other:?} let go of {left:?}"),
            }
        }
        Ok(())
    }
}

fn live(model: &Model) -> Vec<Pin> {
    let all = query::pins(model, Seq(0), 1000, &|_| true);
    all.unwrap().items
}

/// Who holds each live pin with factors.
fn copies(model: &Model) -> BTreeMap<Seq, Vec<PeerId>> {
    let all = query::pins(model, Seq(0), 1000, &|pin| {
        matches!(pin.spec.replication, Replication::Factor { .. })
    });
    let pins = all.unwrap().items.into_iter();
    pins.map(|pin| (pin.seq, pin.allocations)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_invariants_and_is_the_same_everywhere(
        entries in vec(vec(any_act(), 1..4), 1..40),
    ) {
        let mut twins = Twins::new();
        for acts in entries {
            twins.step(acts)?;
        }
    }
}

/// The same, as one long history whose state is never thrown away.
#[test]
fn one_long_history_keeps_the_invariants() {
    use proptest::{
        strategy::ValueTree,
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let steps: u64 = number("CORE_STEPS").unwrap_or(1_200);
    let seed: u64 = number("CORE_SEED").unwrap_or(1);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let acts = vec(any_act(), 1..4);
    let mut twins = Twins::new();
    for step in 0..steps {
        let next = acts.new_tree(&mut runner).unwrap().current();
        if let Err(error) = twins.step(next) {
            panic!("step {step} of CORE_SEED={seed}: {error}");
        }
    }
    // A history whose commands are all refused would prove nothing.
    if steps >= 1_200 {
        assert_eq!(twins.done.len(), 16, "all kinds but Init and FeatureLevel");
    }
}
