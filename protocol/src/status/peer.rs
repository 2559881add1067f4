//! The copy of another peer's table.

use std::collections::BTreeMap;

use super::{
    block::Detail,
    content::{Content, split},
    message::{Delta, Digest, PullRequest, PullResponse, Range, TableId, Want},
    pull::{PageError, Progress, Source},
};
use crate::{
    id::{Boot, Incarnation, PeerId, Rev, Seq},
    limits::{STATUS_HASHES_MAX, STATUS_PENDING_BYTES_MAX},
    mutation::{Mutation, planted},
    pin::PinPhase,
};

/// What became of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The copy has its version now.
    Applied,
    /// It was applied before, or its table has been replaced.
    Old,
    /// It waits, or was dropped: something before it is missing.
    Waits,
    /// It breaks the rules of its form, and nothing of it was taken.
    Malformed,
}

/// A pull under way.
#[derive(Debug, Clone)]
struct Pull {
    /// Where the next page begins.
    next: Seq,
    /// By hashes, as it began.
    differing: bool,
    /// Version and `as_of` of the first page, which the finished pull leads to.
    first: Option<(u64, Rev)>,
}

/// One peer's table, as far as it is known here.
#[derive(Debug, Clone)]
pub struct PeerTable {
    id: TableId,
    content: Content,
    version: u64,
    as_of: Rev,
    /// The highest version heard of.
    heard: u64,
    /// The owner's digest of our version says that our content is wrong.
    differs: bool,
    /// The owner has been silent for so long that its table is to be asked for.
    unsure: bool,
    /// Deltas that wait for an earlier one or for the end of a pull, by `from`.
    pending: BTreeMap<u64, Delta>,
    pending_bytes: usize,
    pull: Option<Pull>,
    /// When the owner was last heard of, by this peer's monotonic clock.
    heard_at_ms: u64,
}

impl PeerTable {
    /// Version 0 of a table: empty.
    #[must_use]
    pub fn new(id: TableId, now_ms: u64) -> Self {
        Self {
            id,
            content: Content::default(),
            version: 0,
            as_of: Rev(0),
            heard: 0,
            differs: false,
            unsure: false,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            pull: None,
            heard_at_ms: now_ms,
        }
    }

    /// The table of a peer that has not been heard of: whoever has one is asked for it.
    #[must_use]
    pub fn unknown(peer: PeerId, now_ms: u64) -> Self {
        let id = TableId {
            peer,
            incarnation: Incarnation(0),
            boot: Boot(0),
        };
        Self {
            heard: 1,
            ..Self::new(id, now_ms)
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &TableId {
        &self.id
    }

    /// Phases and details.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The rev up to which the content takes the state into account.
    #[must_use]
    pub fn as_of(&self) -> Rev {
        self.as_of
    }

    /// The version held.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Milliseconds since the owner was heard of.
    #[must_use]
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_at_ms)
    }

    /// What the table says of a pin that changed last at `rev`. A phase from before that change
    /// does not count: the pin is queued. `None`: the peer has nothing to do with it.
    #[must_use]
    pub fn status(&self, seq: Seq, rev: Rev) -> Option<(PinPhase, Option<&Detail>)> {
        self.content.shown(seq, rev, self.as_of)
    }

    /// Becomes the empty version 0 of `id` if that replaces this table. False: `id` is older.
    fn follow(&mut self, id: &TableId, now_ms: u64) -> bool {
        if id.replaces(&self.id) {
            *self = Self::new(id.clone(), now_ms);
        }
        *id == self.id
    }

    /// Takes a delta from the owner, in whatever order they come.
    pub fn apply_delta(&mut self, delta: Delta, now_ms: u64) -> Applied {
        if delta.from >= delta.to || delta.changes.iter().any(|c| c.sets().is_none()) {
            return Applied::Malformed;
        }
        if !self.follow(&delta.table, now_ms) {
            return Applied::Old;
        }
        self.heard_from_owner(now_ms);
        self.heard = self.heard.max(delta.to);
        if delta.to <= self.version {
            return Applied::Old;
        }
        let to = delta.to;
        self.hold(delta);
        self.drain();
        if self.version >= to {
            Applied::Applied
        } else {
            Applied::Waits
        }
    }

    fn heard_from_owner(&mut self, now_ms: u64) {
        self.heard_at_ms = self.heard_at_ms.max(now_ms);
        self.unsure = false;
    }

    /// Nothing has come from the owner for long: counts as missing until something is heard.
    pub fn suspect(&mut self) {
        self.unsure = true;
    }

    fn hold(&mut self, delta: Delta) {
        let weight = delta.weight();
        if let Some(old) = self.pending.insert(delta.from, delta) {
            self.pending_bytes = self.pending_bytes.saturating_sub(old.weight());
        }
        self.pending_bytes += weight;
        if self.pending_bytes > STATUS_PENDING_BYTES_MAX {
            // All of it: what is missing must be pulled anyway, and that brings the rest.
            self.pending.clear();
            self.pending_bytes = 0;
        }
    }

    /// Applies what waits as far as it is contiguous; not during a pull, whose pages may be older.
    fn drain(&mut self) {
        if self.pull.is_some() {
            return;
        }
        while let Some((&from, _)) = self.pending.first_key_value() {
            if from > self.version {
                return;
            }
            let Some((_, delta)) = self.pending.pop_first() else {
                return;
            };
            self.pending_bytes = self.pending_bytes.saturating_sub(delta.weight());
            if delta.to <= self.version {
                continue;
            }
            let lost = planted(Mutation::DeltaDroppedWithoutDigest) && delta.to.is_multiple_of(8);
            let taken = lost
                || delta
                    .changes
                    .iter()
                    .all(|c| self.content.apply(c, delta.to).is_ok());
            if !taken {
                return; // a block too many; the owner's digest will say what lacks
            }
            self.version = delta.to;
            self.as_of = self.as_of.max(delta.as_of);
            self.differs = false;
        }
    }

    /// Compares with the owner's digest.
    pub fn observe_digest(&mut self, digest: &Digest, now_ms: u64) {
        if !self.follow(&digest.table, now_ms) {
            return;
        }
        self.heard_from_owner(now_ms);
        self.heard = self.heard.max(digest.version);
        if digest.version == self.version && self.pull.is_none() {
            self.differs =
                self.content.root() != digest.root && !planted(Mutation::DeltaDroppedWithoutDigest);
            if !self.differs {
                self.as_of = self.as_of.max(digest.as_of);
            }
        }
    }

    /// Whether something must be pulled.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.differs || self.unsure || self.heard > self.version
    }

    /// Whether only the owner can tell what is wrong.
    #[must_use]
    pub fn needs_owner(&self) -> bool {
        self.pull.as_ref().map_or(self.differs, |p| p.differing)
    }

    /// What to ask for next: the first page of what is missing, or the next one of the pull under
    /// way.
    pub fn missing(&mut self) -> Option<PullRequest> {
        if self.pull.is_none() {
            if !self.is_missing() {
                return None;
            }
            self.pull = Some(Pull {
                next: Seq(0),
                differing: self.differs,
                first: None,
            });
        }
        let pull = self.pull.as_ref()?;
        let want = if pull.differing {
            let (hashes, below) = self.content.hashes(split(pull.next).0, STATUS_HASHES_MAX);
            Want::Differing {
                version: self.version,
                hashes,
                below,
            }
        } else {
            Want::Since(self.version)
        };
        Some(PullRequest {
            table: self.id.clone(),
            want,
            from: pull.next,
        })
    }

    /// Takes the answer to [`Self::missing`]. After an error, or `Nothing`, the pull is given up.
    pub fn apply_page(&mut self, page: PullResponse, now_ms: u64) -> Result<Progress, PageError> {
        let result = self.try_page(page, now_ms);
        if !matches!(result, Ok(Progress::More)) {
            self.abort_pull();
        }
        result
    }

    fn try_page(&mut self, page: PullResponse, now_ms: u64) -> Result<Progress, PageError> {
        let (table, version, as_of, age_ms, ranges, next) = match page {
            PullResponse::Nothing => return Ok(Progress::Nothing),
            PullResponse::Other { table } if table.peer != self.id.peer => {
                return Err(PageError::OtherTable);
            }
            PullResponse::Other { table } => {
                if self.follow(&table, now_ms) {
                    self.heard = self.heard.max(1); // ask on: it is not empty, or soon will not be
                }
                return Ok(Progress::Nothing);
            }
            PullResponse::Page {
                table,
                version,
                as_of,
                age_ms,
                ranges,
                next,
            } => (table, version, as_of, age_ms, ranges, next),
        };
        let Some(pull) = &mut self.pull else {
            return Err(PageError::Unasked);
        };
        if table != self.id {
            return Err(PageError::OtherTable);
        }
        if next.is_some_and(|n| n <= pull.next) {
            return Err(PageError::Malformed);
        }
        let first = *pull.first.get_or_insert((version, as_of));
        self.take_ranges(&ranges)?;
        self.heard_at_ms = self.heard_at_ms.max(now_ms.saturating_sub(age_ms));
        if let (Some(next), Some(pull)) = (next, &mut self.pull) {
            pull.next = next;
            return Ok(Progress::More);
        }
        self.version = self.version.max(first.0);
        self.as_of = self.as_of.max(first.1);
        self.heard = self.heard.max(self.version);
        self.differs = false;
        self.unsure = false;
        Ok(Progress::Complete)
    }

    fn take_ranges(&mut self, ranges: &[Range]) -> Result<(), PageError> {
        ranges
            .iter()
            .try_for_each(|r| self.content.apply_range(r))
            .map_err(|_| PageError::Malformed)
    }

    /// Gives the pull up (its server failed); what its pages brought stays.
    pub fn abort_pull(&mut self) {
        self.pull = None;
        self.drain();
    }

    /// Answers a puller from this copy.
    pub fn answer(&mut self, request: &PullRequest, now_ms: u64) -> PullResponse {
        if self.pull.is_some() {
            return PullResponse::Nothing; // half of it may be newer than its version says
        }
        let source = Source {
            table: &self.id,
            version: self.version,
            as_of: self.as_of,
            age_ms: self.age_ms(now_ms),
            owner: false,
        };
        source.answer(&mut self.content, request)
    }
}
