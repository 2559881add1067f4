//! The handle on the tables.

mod lookup;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ipfs_cluster_protocol::{
    id::{PeerId, Rev, Seq},
    pin::PinPhase,
    status::{
        Applied, Delta, Detail, Digest, OwnTable, PageError, PeerTable, PhaseCounts, Progress,
        PullRequest, PullResponse, TableId,
    },
};
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

pub use self::lookup::Lookup;
use super::schedule::Schedule;

/// What is known of one peer's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Its version.
    pub version: u64,
    /// The rev up to which it takes the state into account.
    pub as_of: Rev,
    /// How long ago that peer was heard of; zero for this peer itself.
    pub age: Duration,
    /// Pins by phase.
    pub counts: PhaseCounts,
}

#[derive(Debug)]
struct Tables {
    own: OwnTable,
    others: BTreeMap<PeerId, PeerTable>,
    schedule: Schedule,
}

#[derive(Debug)]
struct Shared {
    local: PeerId,
    start: Instant,
    tables: Mutex<Tables>,
    /// The own table has something to tell.
    changed: Notify,
    /// A copy misses something.
    missing: Notify,
}

/// The status tables of all members. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StatusTables(Arc<Shared>);

impl StatusTables {
    /// An empty own table and no others.
    #[must_use]
    pub fn new(id: TableId) -> Self {
        Self(Arc::new(Shared {
            local: id.peer.clone(),
            start: Instant::now(),
            tables: Mutex::new(Tables {
                own: OwnTable::new(id),
                others: BTreeMap::new(),
                schedule: Schedule::default(),
            }),
            changed: Notify::new(),
            missing: Notify::new(),
        }))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Puts a pin of this peer into a phase.
    pub fn set(&self, seq: Seq, phase: PinPhase, detail: Option<Detail>) {
        self.own(|own| own.set(seq, phase, detail));
    }

    /// Puts many pins of one block into a phase.
    pub fn set_many(&self, block: u64, lows: &RoaringBitmap, phase: PinPhase) {
        self.own(|own| own.set_many(block, lows, phase));
    }

    /// This peer has nothing to do with a pin any more.
    pub fn clear(&self, seq: Seq) {
        self.own(|own| own.clear(seq));
    }

    /// Every change of the state up to `as_of` that concerns this peer has been seen to.
    pub fn advance(&self, as_of: Rev) {
        self.own(|own| own.advance(as_of));
    }

    fn own(&self, change: impl FnOnce(&mut OwnTable)) {
        let dirty = {
            let mut tables = self.0.tables.lock();
            change(&mut tables.own);
            tables.own.is_dirty()
        };
        if dirty {
            self.0.changed.notify_one();
        }
    }

    /// Looks at the own table. The closure must be short: everything else waits for it.
    pub fn read_own<T>(&self, read: impl FnOnce(&OwnTable) -> T) -> T {
        read(&self.0.tables.lock().own)
    }

    /// Who is a member now: others' tables are dropped, members not heard of are asked for.
    pub fn set_members(&self, members: &BTreeSet<PeerId>) {
        let now = self.now_ms();
        let mut tables = self.0.tables.lock();
        let Tables {
            others, schedule, ..
        } = &mut *tables;
        others.retain(|peer, _| members.contains(peer));
        schedule.retain(members);
        for peer in members.iter().filter(|p| **p != self.0.local) {
            others
                .entry(peer.clone())
                .or_insert_with(|| PeerTable::unknown(peer.clone(), now));
        }
        drop(tables);
        self.0.missing.notify_one();
    }

    /// Members but for this peer.
    pub(super) fn others_len(&self) -> usize {
        self.0.tables.lock().others.len()
    }

    /// How many pins are in each phase, over all peers.
    #[must_use]
    pub fn counts(&self) -> PhaseCounts {
        let tables = self.0.tables.lock();
        let mut sum = tables.own.content().counts();
        for table in tables.others.values() {
            sum.add(&table.content().counts());
        }
        sum
    }

    /// What is known of every peer's table.
    #[must_use]
    pub fn info(&self) -> BTreeMap<PeerId, TableInfo> {
        let now = self.now_ms();
        let tables = self.0.tables.lock();
        let own = TableInfo {
            version: tables.own.version(),
            as_of: tables.own.as_of(),
            age: Duration::ZERO,
            counts: tables.own.content().counts(),
        };
        let others = tables.others.iter().map(|(peer, table)| {
            let info = TableInfo {
                version: table.version(),
                as_of: table.as_of(),
                age: Duration::from_millis(table.age_ms(now)),
                counts: table.content().counts(),
            };
            (peer.clone(), info)
        });
        others.chain([(self.0.local.clone(), own)]).collect()
    }

    /// Resolves when the own table has something to tell: at once when pins have changed; when the
    /// state has only moved on without concerning this peer, after `idle`.
    pub(super) async fn changed(&self, idle: Duration) {
        self.once(OwnTable::is_dirty).await;
        let _ = timeout(idle, self.once(OwnTable::has_changes)).await;
    }

    async fn once(&self, holds: impl Fn(&OwnTable) -> bool) {
        while !self.read_own(&holds) {
            self.0.changed.notified().await;
        }
    }

    pub(super) fn seal(&self) -> Option<Delta> {
        self.0.tables.lock().own.seal()
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        self.0.tables.lock().own.digest()
    }

    /// Takes a member's delta.
    pub(crate) fn apply_delta(&self, delta: Delta) -> Option<Applied> {
        let now = self.now_ms();
        let applied = {
            let mut tables = self.0.tables.lock();
            let table = tables.others.get_mut(&delta.table.peer)?;
            table.apply_delta(delta, now)
        };
        if applied == Applied::Waits {
            self.0.missing.notify_one();
        }
        Some(applied)
    }

    /// Takes a member's digest.
    pub(super) fn observe_digest(&self, digest: &Digest) {
        let now = self.now_ms();
        let mut tables = self.0.tables.lock();
        let Some(table) = tables.others.get_mut(&digest.table.peer) else {
            return;
        };
        table.observe_digest(digest, now);
        if table.is_missing() {
            drop(tables);
            self.0.missing.notify_one();
        }
    }

    /// Answers a puller from this peer's copy.
    pub(super) fn answer(&self, request: &PullRequest) -> PullResponse {
        let now = self.now_ms();
        let mut tables = self.0.tables.lock();
        if request.table.peer == self.0.local {
            return tables.own.answer(request);
        }
        match tables.others.get_mut(&request.table.peer) {
            Some(table) => table.answer(request, now),
            None => PullResponse::Nothing,
        }
    }

    /// Resolves when a copy may have come to miss something.
    pub(super) async fn missing(&self) {
        self.0.missing.notified().await;
    }

    /// Whose tables are to be pulled now, and when to look again. They count as being pulled.
    /// Owners that were silent for `silence` are asked too: gossip may be cut off.
    pub(super) fn due_pulls(
        &self,
        limit: usize,
        silence: Duration,
    ) -> (Vec<PeerId>, Option<Instant>) {
        let now = self.now_ms();
        let mut tables = self.0.tables.lock();
        let Tables {
            others, schedule, ..
        } = &mut *tables;
        for table in others.values_mut() {
            if Duration::from_millis(table.age_ms(now)) >= silence {
                table.suspect();
            }
        }
        let missing = others.iter().filter(|(_, t)| t.is_missing());
        let (due, next) = schedule.due(missing.map(|(p, _)| p), now, limit);
        let next = next.map(|ms| self.0.start + Duration::from_millis(ms));
        (due, next)
    }

    /// Whether a peer's table lacks nothing that this peer knows of, and its owner was heard of
    /// within `silence`.
    pub(super) fn is_settled(&self, peer: &PeerId, silence: Duration) -> bool {
        let now = self.now_ms();
        let tables = self.0.tables.lock();
        tables.others.get(peer).is_none_or(|table| {
            !table.is_missing() && Duration::from_millis(table.age_ms(now)) < silence
        })
    }

    /// A pull came to its end.
    pub(super) fn pulled(&self, peer: &PeerId, silence: Duration, jitter: f64) {
        let settled = self.is_settled(peer, silence);
        let now = self.now_ms();
        let mut tables = self.0.tables.lock();
        let Tables {
            others, schedule, ..
        } = &mut *tables;
        if let Some(table) = others.get_mut(peer) {
            table.abort_pull();
            schedule.ended(peer, settled, jitter, now);
        }
        drop(tables);
        self.0.missing.notify_one();
    }

    /// The next request of the pull of a peer's table, and whether its owner must be asked.
    pub(super) fn next_request(&self, peer: &PeerId) -> Option<(PullRequest, bool)> {
        let mut tables = self.0.tables.lock();
        let table = tables.others.get_mut(peer)?;
        let request = table.missing()?;
        Some((request, table.needs_owner()))
    }

    /// Takes the answer.
    pub(super) fn apply_page(
        &self,
        peer: &PeerId,
        page: PullResponse,
    ) -> Option<Result<Progress, PageError>> {
        let now = self.now_ms();
        let mut tables = self.0.tables.lock();
        let table = tables.others.get_mut(peer)?;
        Some(table.apply_page(page, now))
    }
}
