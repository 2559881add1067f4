//! Whatever is lost, repeated or reordered, copies become what the owner has.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    codec,
    id::{Boot, Incarnation, Rev, Seq},
    limits::{FRAME_BYTES_MAX, GOSSIP_BYTES_MAX, STATUS_ERROR_BYTES_MAX},
    pin::PinPhase,
    state::tests::peer,
    time::Timestamp,
};

fn table(boot: u64) -> TableId {
    TableId {
        peer: peer(1),
        incarnation: Incarnation(1),
        boot: Boot(boot),
    }
}

fn failed(text: &str) -> Option<Detail> {
    Some(Detail {
        error: text.to_owned(),
        attempts: 1,
        at: Timestamp(7),
    })
}

/// Pulls until nothing is missing, through the wire form; gives up after a bounded number of pages.
fn pull(copy: &mut PeerTable, mut answer: impl FnMut(&PullRequest) -> PullResponse) {
    for _ in 0..100 {
        let Some(request) = copy.missing() else {
            return;
        };
        let bytes = codec::encode(&request);
        let request = codec::decode(&bytes, FRAME_BYTES_MAX).unwrap();
        let bytes = codec::encode(&answer(&request));
        let response = codec::decode(&bytes, FRAME_BYTES_MAX).unwrap();
        copy.apply_page(response, 0).unwrap();
    }
    panic!("still missing something after 100 pages");
}

fn assert_same(own: &OwnTable, copy: &PeerTable) {
    assert_eq!(copy.id(), own.id());
    assert_eq!(copy.version(), own.version());
    assert_eq!(copy.as_of(), own.as_of());
    assert!(copy.content() == own.content());
}

#[derive(Debug, Clone)]
enum Step {
    Set(u64, usize, bool),
    Clear(u64),
    SetMany(u64, u64, usize),
    Seal,
    Digest,
    Restart,
    /// Hands message number `n % len` to the copy (any order, any repeat; the others are lost).
    Deliver(usize),
    /// One page of a pull from the owner.
    Page,
    /// The second copy is asked instead.
    PageFromHolder,
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    let seq = prop_oneof![0u64..40, 65_530u64..65_545, 1u64 << 40..(1u64 << 40) + 3];
    prop_oneof![
        6 => (seq.clone(), 0usize..8, any::<bool>()).prop_map(|(s, p, d)| Step::Set(s, p, d)),
        2 => seq.clone().prop_map(Step::Clear),
        1 => (65_000u64..66_000, 1u64..1_000, 0usize..8).prop_map(|(s, n, p)| Step::SetMany(s, n, p)),
        5 => Just(Step::Seal),
        2 => Just(Step::Digest),
        1 => Just(Step::Restart),
        8 => any::<usize>().prop_map(Step::Deliver),
        4 => Just(Step::Page),
        2 => Just(Step::PageFromHolder),
        1 => Just(Step::Abort),
    ]
}

#[derive(Clone)]
enum Message {
    Delta(Delta),
    Digest(Digest),
}

struct World {
    own: OwnTable,
    /// Per seq, every value it had and the `as_of` when it got it, since the owner's last start.
    history: std::collections::BTreeMap<Seq, Vec<(Rev, Option<PinPhase>)>>,
    sent: Vec<Message>,
    copies: [PeerTable; 2],
    turn: usize,
}

impl World {
    fn deliver(&mut self, n: usize) {
        if self.sent.is_empty() {
            return;
        }
        let message = self.sent[n % self.sent.len()].clone();
        self.turn += 1;
        let copy = &mut self.copies[self.turn % 2];
        match message {
            Message::Delta(delta) => {
                let bytes = codec::encode(&delta);
                let delta = codec::decode(&bytes, GOSSIP_BYTES_MAX).unwrap();
                assert_ne!(copy.apply_delta(delta, 0), Applied::Malformed);
            }
            Message::Digest(digest) => copy.observe_digest(&digest, 0),
        }
    }

    fn page(&mut self, from_holder: bool) {
        let [a, b] = &mut self.copies;
        if let Some(request) = a.missing() {
            let response = if from_holder {
                b.answer(&request, 0)
            } else {
                self.own.answer(&request)
            };
            a.apply_page(response, 0).unwrap_or(Progress::Nothing);
        }
    }

    /// Notes what a seq is from here on, if that is new.
    fn note(&mut self, seq: Seq) {
        let now = self.own.content().get(seq).map(|(phase, _)| phase);
        let values = self.history.entry(seq).or_default();
        if values
            .last()
            .map_or(now.is_some(), |(_, last)| *last != now)
        {
            values.push((self.own.as_of(), now));
        }
    }

    /// A copy that claims to know the state up to `as_of` shows no value that the owner had given
    /// up before: that is what "a phase counts if as_of is recent enough" rests on.
    fn check_claims(&self) -> Result<(), TestCaseError> {
        for copy in self.copies.iter().filter(|c| c.id() == self.own.id()) {
            for (seq, values) in &self.history {
                let shown = copy.content().get(*seq).map(|(phase, _)| phase);
                let mut until = values.iter().skip(1).map(|(at, _)| Some(*at)).chain([None]);
                let mut allowed = values
                    .iter()
                    .filter(|_| until.next().flatten().is_none_or(|end| end >= copy.as_of()));
                let before = values.first().is_none_or(|(at, _)| *at >= copy.as_of());
                prop_assert!(
                    allowed.any(|(_, v)| *v == shown) || (before && shown.is_none()),
                    "{seq} shows {shown:?} as of {}, history {values:?}",
                    copy.as_of()
                );
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) {
        let own = &mut self.own;
        let phase = |p: &usize| PinPhase::ALL[*p];
        match step {
            Step::Set(s, p, d) => own.set(Seq(*s), phase(p), d.then(|| failed("no")).flatten()),
            Step::Clear(s) => own.clear(Seq(*s)),
            Step::SetMany(s, n, p) => {
                let mut by_block = std::collections::BTreeMap::<u64, roaring::RoaringBitmap>::new();
                for s in *s..s + n {
                    by_block
                        .entry(s >> 16)
                        .or_default()
                        .insert((s & 0xffff) as u32);
                }
                for (block, lows) in by_block {
                    own.set_many(block, &lows, phase(p));
                }
            }
            Step::Seal => {
                own.advance(own.as_of().next());
                self.sent.extend(own.seal().map(Message::Delta));
            }
            Step::Digest => self.sent.extend(own.digest().map(Message::Digest)),
            Step::Restart => {
                *own = OwnTable::new(table(own.id().boot.0 + 1));
                self.history.clear();
            }
            Step::Deliver(n) => self.deliver(*n),
            Step::Page => self.page(false),
            Step::PageFromHolder => self.page(true),
            Step::Abort => self.copies[0].abort_pull(),
        }
        if let Step::Set(s, ..) | Step::Clear(s) = step {
            self.note(Seq(*s));
        }
        if let Step::SetMany(s, n, _) = step {
            (*s..s + n).for_each(|s| self.note(Seq(s)));
        }
    }

    /// What the network does in the end: the last deltas may be lost, one digest arrives.
    fn settle(&mut self) {
        while self.own.seal().is_some() {}
        if self.own.version() == 0 {
            // It started anew and has said nothing yet: whoever heard of the start asks on.
            return;
        }
        let digest = self.own.digest().unwrap();
        for copy in &mut self.copies {
            copy.abort_pull();
            copy.observe_digest(&digest, 0);
            pull(copy, |r| self.own.answer(r));
            // A pull of what changed leaves what differed before; the next digest tells.
            copy.observe_digest(&digest, 0);
            pull(copy, |r| self.own.answer(r));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn copies_converge_whatever_is_lost_repeated_or_reordered(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let id = table(1);
        let mut world = World {
            own: OwnTable::new(id.clone()),
            history: std::collections::BTreeMap::new(),
            sent: Vec::new(),
            copies: [PeerTable::new(id, 0), PeerTable::unknown(peer(1), 0)],
            turn: 0,
        };
        for s in &steps {
            world.step(s);
            world.check_claims()?;
        }
        world.settle();
        for copy in &world.copies {
            // A table nobody has heard a version of stays unnamed; everything else is equal.
            if world.own.version() > 0 {
                assert_same(&world.own, copy);
            }
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300),
                            cut in 0usize..2000, flip in 0usize..2000, bit in 0u8..8) {
        let mut own = OwnTable::new(table(1));
        for s in 0..60 {
            own.set(Seq(s * 1000), PinPhase::ALL[s as usize % 8], failed("why"));
        }
        let delta = own.seal().unwrap();
        let mut copy = PeerTable::unknown(peer(1), 0);
        let request = copy.missing().unwrap();
        let page = own.answer(&PullRequest { table: own.id().clone(), ..request });
        let mut inputs = vec![bytes];
        for mut good in [codec::encode(&delta), codec::encode(&page)] {
            let len = good.len();
            good[flip % len] ^= 1 << bit;
            inputs.push(good.clone());
            good.truncate(cut % len);
            inputs.push(good);
        }
        for input in inputs {
            if let Ok(delta) = codec::decode::<Delta>(&input, GOSSIP_BYTES_MAX) {
                copy.apply_delta(delta, 0);
            }
            if let Ok(page) = codec::decode::<PullResponse>(&input, FRAME_BYTES_MAX) {
                let _ = copy.missing();
                let _ = copy.apply_page(page, 0);
            }
            if let Ok(request) = codec::decode::<PullRequest>(&input, FRAME_BYTES_MAX) {
                own.answer(&request);
                copy.answer(&request, 0);
            }
        }
        let _ = copy.content().page(&BTreeSet::from(PinPhase::ALL), Seq(0), 1000);
    }
}

#[test]
fn a_phase_from_before_a_pins_last_change_does_not_count() {
    let mut own = OwnTable::new(table(1));
    own.set(Seq(1), PinPhase::Pinned, None);
    own.advance(Rev(5));
    assert_eq!(own.status(Seq(1), Rev(5)), Some((PinPhase::Pinned, None)));
    assert_eq!(
        own.status(Seq(1), Rev(6)),
        Some((PinPhase::PinQueued, None))
    );
    assert_eq!(own.status(Seq(2), Rev(5)), None);
}

#[test]
fn as_of_stays_behind_until_every_change_before_it_is_sealed() {
    let mut own = OwnTable::new(table(1));
    // Single pins with details, so that they cannot fit into one message.
    let text = "x".repeat(STATUS_ERROR_BYTES_MAX);
    (0..1000).for_each(|s| own.set(Seq(s), PinPhase::PinError, failed(&text)));
    own.advance(Rev(9));
    let mut copy = PeerTable::new(table(1), 0);
    let mut messages = 0;
    while let Some(delta) = own.seal() {
        assert!(codec::encode(&delta).len() <= GOSSIP_BYTES_MAX);
        let whole = !own.is_dirty();
        assert_eq!(copy.apply_delta(delta, 0), Applied::Applied);
        assert_eq!(copy.as_of(), if whole { Rev(9) } else { Rev(0) });
        messages += 1;
    }
    assert!(messages > 1);
    assert_same(&own, &copy);
}

#[test]
fn a_large_table_is_pulled_in_pages_that_fit_a_frame() {
    let mut own = OwnTable::new(table(1));
    let text = "y".repeat(STATUS_ERROR_BYTES_MAX);
    (0..20_000).for_each(|s| own.set(Seq(s), PinPhase::PinError, failed(&text)));
    (20_000..300_000).for_each(|s| own.set(Seq(s * 2), PinPhase::Pinned, None));
    own.advance(Rev(3));
    while own.seal().is_some() {}
    let mut copy = PeerTable::unknown(peer(1), 0);
    let mut pages = 0;
    pull(&mut copy, |r| {
        pages += 1;
        own.answer(r)
    });
    assert!(pages > 5);
    assert_same(&own, &copy);
}

#[test]
fn counts_and_pages_follow_the_content() {
    let mut own = OwnTable::new(table(1));
    for s in [1, 70_000, 200_000] {
        own.set(Seq(s), PinPhase::PinError, failed("e"));
    }
    own.set(Seq(2), PinPhase::Pinned, None);
    own.set(Seq(70_000), PinPhase::Pinned, None);
    own.clear(Seq(3));
    let counts = own.content().counts();
    assert_eq!(counts.get(PinPhase::PinError), 2);
    assert_eq!(counts.get(PinPhase::Pinned), 2);
    let page = |phases: &[PinPhase], from, limit| {
        let phases = phases.iter().copied().collect();
        own.content().page(&phases, Seq(from), limit)
    };
    assert_eq!(page(&[PinPhase::PinError], 0, 9), [Seq(1), Seq(200_000)]);
    let both = [PinPhase::PinError, PinPhase::Pinned];
    assert_eq!(page(&both, 2, 2), [Seq(2), Seq(70_000)]);
    assert_eq!(page(&both, 0, 0), []);
}

#[test]
fn deltas_that_wait_are_bounded() {
    let mut own = OwnTable::new(table(1));
    let text = "z".repeat(STATUS_ERROR_BYTES_MAX);
    let mut copy = PeerTable::new(table(1), 0);
    own.set(Seq(0), PinPhase::Pinned, None);
    own.seal(); // lost
    for s in 0..20_000 {
        own.set(Seq(s), PinPhase::PinError, failed(&text));
    }
    while let Some(delta) = own.seal() {
        assert_eq!(copy.apply_delta(delta, 0), Applied::Waits);
    }
    assert!(copy.is_missing());
    pull(&mut copy, |r| own.answer(r));
    assert_same(&own, &copy);
}

#[test]
fn a_silent_owner_that_has_nothing_new_is_heard_by_asking() {
    let mut own = OwnTable::new(table(1));
    own.set(Seq(1), PinPhase::Pinned, None);
    let mut copy = PeerTable::new(table(1), 0);
    copy.apply_delta(own.seal().unwrap(), 0);
    assert!(!copy.is_missing());
    assert_eq!(copy.age_ms(9000), 9000);
    copy.suspect();
    let request = copy.missing().unwrap();
    let page = own.answer(&request);
    assert_eq!(copy.apply_page(page, 9000), Ok(Progress::Complete));
    assert_eq!(copy.age_ms(9000), 0);
    assert!(!copy.is_missing());
}

#[test]
fn an_older_start_of_the_owner_is_not_listened_to() {
    let mut old = OwnTable::new(table(1));
    old.set(Seq(1), PinPhase::Pinned, None);
    let mut new = OwnTable::new(table(2));
    new.set(Seq(1), PinPhase::PinQueued, None);
    let mut copy = PeerTable::new(table(1), 0);
    let late = old.seal().unwrap();
    assert_eq!(copy.apply_delta(new.seal().unwrap(), 0), Applied::Applied);
    assert_eq!(copy.apply_delta(late, 0), Applied::Old);
    assert_same(&new, &copy);
}
