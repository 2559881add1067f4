//! What the tracker keeps in mind: the queue, what runs and to what end, what failed how often.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::{
    id::{Cid, MemberNo, Seq},
    limits,
    pin::{PinMode, PinPhase},
    reconcile::Desired,
    state::query::{self, Stored},
    status::{Detail, PhaseSet},
    time::Timestamp,
};
use tokio::{task::AbortHandle, time::Instant};

use super::{
    held::Held,
    queue::{Busy, Kind, Lane, Queue},
    start::Parts,
    walk::Wanted,
};
use crate::cluster::wall_clock;

/// A pin is news for so long; clocks may differ by a part of it.
const REPAIR_AGE_MIN: Duration = Duration::from_secs(60);

/// Phases that a recover ends.
const FAILED: [PinPhase; 3] = [
    PinPhase::PinError,
    PinPhase::UnpinError,
    PinPhase::UnexpectedlyUnpinned,
];

/// What a job is to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Pin(PinMode),
    Unpin,
}

/// How it came out that the state wants something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    /// The pin has changed.
    Changed,
    /// By a walk, beside what the IPFS node lists.
    Listed(&'a Held),
    /// By a walk that knows nothing of the IPFS node.
    Unlisted,
}

/// What becomes of a pin when its present job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// What the job says.
    Settle,
    /// Something else is wanted by now.
    Again,
    /// It is none of this peer's business by now.
    Drop,
}

/// A job under way. It keeps its place until it has ended, also when it was aborted: two jobs
/// never work on one pin at once.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) handle: AbortHandle,
    pub(super) lane: Lane,
    pub(super) unpins: bool,
    pub(super) then: Then,
}

impl Running {
    /// A fetch that nobody wants ends at once. An order to unpin is on its way to the IPFS node:
    /// what comes of it must be known before anything else is tried.
    fn overtake(&mut self, then: Then) {
        self.then = then;
        if !self.unpins {
            self.handle.abort();
        }
    }
}

/// The tracker's mind. All of it can be found out again but the counts of failures.
#[derive(Debug)]
pub(super) struct Tracking {
    pub(super) parts: Parts,
    pub(super) number: Option<MemberNo>,
    pub(super) queue: Queue,
    pub(super) running: BTreeMap<Seq, Running>,
    /// What is wanted of the pins that wait or are worked on.
    pub(super) goals: BTreeMap<Seq, Goal>,
    /// Failures since the last success.
    pub(super) failures: BTreeMap<Seq, u32>,
    /// The queue was full: there is more to find by a walk.
    pub(super) overflowed: bool,
    start: Instant,
}

impl Tracking {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            queue: Queue::new(parts.settings.queue_max),
            parts,
            number: None,
            running: BTreeMap::new(),
            goals: BTreeMap::new(),
            failures: BTreeMap::new(),
            overflowed: false,
            start: Instant::now(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When the next retry is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.queue.next_due_ms()?;
        Some(self.start + Duration::from_millis(due))
    }

    /// Workers by lane.
    pub(super) fn busy(&self) -> Busy {
        Busy::of(self.running.values().map(|running| running.lane))
    }

    /// One pin: into the table, and into the queue unless it is known to be as wanted.
    pub(super) fn want(&mut self, want: &Wanted, found: Found<'_>) {
        let seq = want.seq;
        if matches!(found, Found::Changed) {
            // How often the last order failed says nothing about this one.
            self.failures.remove(&seq);
        }
        match &want.desired {
            Desired::Hold { spec, .. } => {
                let kind = self.kind(want.at, found);
                self.want_held(seq, spec.cid, spec.mode, kind, found);
            }
            Desired::Unpin { .. } => {
                if !self.is_under_way(seq, Goal::Unpin) {
                    self.order(seq, Goal::Unpin, Kind::Unpin, PinPhase::UnpinQueued);
                }
            }
            Desired::Elsewhere | Desired::Absent => {
                self.drop_work(seq);
                self.parts.tables.clear(seq);
                self.parts.ledger.forget(seq);
            }
        }
    }

    fn want_held(&mut self, seq: Seq, cid: Cid, mode: PinMode, kind: Kind, found: Found<'_>) {
        let goal = Goal::Pin(mode);
        let under_way = self.is_under_way(seq, goal);
        let has = match found {
            Found::Listed(held) => Some(held.get(&cid)),
            Found::Changed | Found::Unlisted => None,
        };
        let enough = match has {
            Some(Some(PinMode::Recursive)) => true,
            Some(Some(PinMode::Direct)) => mode == PinMode::Direct,
            Some(None) | None => false,
        };
        if enough && !self.running.contains_key(&seq) {
            // What was pinned before this peer ever ordered it stays foreign: the ledger has no
            // order of it.
            self.drop_work(seq);
            self.parts.tables.set(seq, PinPhase::Pinned, None);
        } else if !under_way {
            let lost = has == Some(None) && self.is_pinned(seq);
            let phase = if lost {
                PinPhase::UnexpectedlyUnpinned
            } else {
                PinPhase::PinQueued
            };
            self.order(seq, goal, kind, phase);
        } else if matches!(found, Found::Changed) && self.queue.contains(seq) {
            // Somebody touched it: that is worth a try.
            self.order(seq, goal, kind, PinPhase::PinQueued);
        }
    }

    /// Whether a job with this goal waits or runs.
    fn is_under_way(&self, seq: Seq, goal: Goal) -> bool {
        self.goals.get(&seq) == Some(&goal)
            && (self.queue.contains(seq) || self.running.get(&seq).is_some_and(Running::counts))
    }

    /// Where a pin that was submitted `at` waits. One that has just come to this peer's notice and
    /// was submitted a while ago was given to it in another's place: copies are missing.
    fn kind(&self, at: Option<Timestamp>, found: Found<'_>) -> Kind {
        let age = at.map_or(0, |at| wall_clock().0.saturating_sub(at.0));
        let age = Duration::from_millis(age);
        match found {
            Found::Changed if age > REPAIR_AGE_MIN => Kind::Repair,
            _ if age > self.parts.settings.priority_max_age => Kind::Backlog,
            _ => Kind::New,
        }
    }

    /// There is something to do about a pin.
    pub(super) fn order(&mut self, seq: Seq, goal: Goal, kind: Kind, phase: PinPhase) {
        self.goals.insert(seq, goal);
        self.show(seq, phase);
        match self.running.get_mut(&seq) {
            Some(running) => running.overtake(Then::Again),
            None => self.push(seq, kind),
        }
    }

    /// Tries what failed now, unless it is being tried.
    pub(super) fn recover(&mut self, seq: Seq, phase: PinPhase) {
        let (kind, phase) = match phase {
            PinPhase::UnpinError => (Kind::Unpin, PinPhase::UnpinQueued),
            _ => (Kind::New, PinPhase::PinQueued),
        };
        if kind == Kind::Unpin {
            self.goals.insert(seq, Goal::Unpin);
        }
        if !self.running.contains_key(&seq) {
            self.show(seq, phase);
            self.push(seq, kind);
        }
    }

    /// Queues a pin.
    pub(super) fn push(&mut self, seq: Seq, kind: Kind) {
        if let Some(evicted) = self.queue.push(seq, kind) {
            self.goals.remove(&evicted);
            self.overflowed = true;
        }
    }

    /// Puts a pin into a phase, with the count of its failures if it has any.
    pub(super) fn show(&self, seq: Seq, phase: PinPhase) {
        let attempts = self.failures.get(&seq).copied().unwrap_or(0);
        let detail = (attempts > 0).then(|| Detail {
            error: String::new(),
            attempts,
            at: wall_clock(),
        });
        self.parts.tables.set(seq, phase, detail);
    }

    /// There is nothing to do about a pin.
    pub(super) fn drop_work(&mut self, seq: Seq) {
        if let Some(running) = self.running.get_mut(&seq) {
            running.overtake(Then::Drop);
        }
        self.queue.remove(seq);
        self.failures.remove(&seq);
        self.goals.remove(&seq);
    }

    /// Whether the table says that the pin is held.
    pub(super) fn is_pinned(&self, seq: Seq) -> bool {
        self.phase(seq) == Some(PinPhase::Pinned)
    }

    pub(super) fn phase(&self, seq: Seq) -> Option<PinPhase> {
        self.parts
            .tables
            .read_own(|own| own.content().get(seq).map(|(phase, _)| phase))
    }

    /// The pin of this CID, if it failed here.
    pub(super) async fn failed_seq(&self, cid: Cid) -> Option<(Seq, PinPhase)> {
        let read = self
            .parts
            .state
            .read(move |s| query::stored_by_cid(s, &cid));
        let seq = match read.await.ok()?? {
            Stored::Live(pin) => pin.seq,
            Stored::Tombstone(gone) => gone.seq,
        };
        let phase = self.phase(seq)?;
        FAILED.contains(&phase).then_some((seq, phase))
    }

    /// Every pin that failed here, up to a bound.
    pub(super) async fn all_failed(&self) -> Vec<(Seq, PinPhase, Cid)> {
        let phases = PhaseSet::from(FAILED);
        let seqs = self.parts.tables.read_own(|own| {
            own.content()
                .page(&phases, Seq(0), limits::RECOVERED_PINS_MAX)
        });
        let mut failed = Vec::new();
        for page in seqs.chunks(limits::LIST_PAGE_PINS) {
            let page = page.to_vec();
            let read = self.parts.state.read(move |s| query::stored_many(s, &page));
            let found = read.await.unwrap_or_default().into_iter();
            let found = found.map(|stored| match stored {
                Stored::Live(pin) => (pin.seq, pin.spec.cid),
                Stored::Tombstone(gone) => (gone.seq, gone.cid),
            });
            failed.extend(found.filter_map(|(seq, cid)| Some((seq, self.phase(seq)?, cid))));
        }
        failed
    }
}

impl Running {
    /// Whether what comes of it is still of interest.
    fn counts(&self) -> bool {
        self.then != Then::Drop
    }
}
