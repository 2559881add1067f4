//! What the tracker keeps in mind: the queue, what runs, what failed how often.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    id::{Cid, MemberNo, Seq},
    limits,
    pin::PinPhase,
    state::query::{self, Stored},
    status::{Detail, PhaseSet},
};
use tokio::{task::AbortHandle, time::Instant};

use super::{queue::Queue, start::Parts};
use crate::cluster::wall_clock;

/// Phases that a recover ends.
const FAILED: [PinPhase; 3] = [
    PinPhase::PinError,
    PinPhase::UnpinError,
    PinPhase::UnexpectedlyUnpinned,
];

/// The tracker's mind. All of it can be found out again but the counts of failures.
#[derive(Debug)]
pub(super) struct Tracking {
    pub(super) parts: Parts,
    pub(super) number: Option<MemberNo>,
    pub(super) queue: Queue,
    pub(super) running: BTreeMap<Seq, AbortHandle>,
    /// Failures since the last success.
    pub(super) failures: BTreeMap<Seq, u32>,
    /// The queue was full: there is more to find by a walk.
    pub(super) overflowed: bool,
    start: Instant,
}

impl Tracking {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            number: None,
            queue: Queue::default(),
            running: BTreeMap::new(),
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
        Some(self.start + std::time::Duration::from_millis(due))
    }

    /// There is something to do about a pin; what runs for it is out of date.
    pub(super) fn enqueue(&mut self, seq: Seq, phase: PinPhase) {
        if let Some(task) = self.running.remove(&seq) {
            task.abort();
        }
        let attempts = self.failures.get(&seq).copied().unwrap_or(0);
        let detail = (attempts > 0).then(|| Detail {
            error: String::new(),
            attempts,
            at: wall_clock(),
        });
        self.parts.tables.set(seq, phase, detail);
        if self.queue.len() >= self.parts.settings.queue_max {
            self.overflowed = true;
        } else {
            self.queue.push(seq);
        }
    }

    /// There is nothing to do about a pin.
    pub(super) fn drop_work(&mut self, seq: Seq) {
        if let Some(task) = self.running.remove(&seq) {
            task.abort();
        }
        self.queue.remove(seq);
        self.failures.remove(&seq);
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
        let read = self.parts.state.read(move |s| query::stored_many(s, &seqs));
        let found = read
            .await
            .unwrap_or_default()
            .into_iter()
            .map(|stored| match stored {
                Stored::Live(pin) => (pin.seq, pin.spec.cid),
                Stored::Tombstone(gone) => (gone.seq, gone.cid),
            });
        found
            .filter_map(|(seq, cid)| Some((seq, self.phase(seq)?, cid)))
            .collect()
    }
}
