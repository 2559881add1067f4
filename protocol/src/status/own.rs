//! The table a peer keeps about itself.

use roaring::{RoaringBitmap, RoaringTreemap};

use super::{
    block::Detail,
    content::{Content, join, split},
    message::{Delta, Digest, PullRequest, PullResponse, TableId},
    pull,
};
use crate::{
    id::{Rev, Seq},
    limits::STATUS_DELTA_BYTES,
    pin::PinPhase,
};

/// The owner's side of a status table.
#[derive(Debug, Clone)]
pub struct OwnTable {
    id: TableId,
    /// What has been sealed so far, and more: everything in `dirty` has changed since.
    content: Content,
    /// The last sealed version.
    version: u64,
    /// Of that version.
    sealed_as_of: Rev,
    /// Of the content.
    as_of: Rev,
    /// Seqs whose value no delta has carried yet.
    dirty: RoaringTreemap,
}

impl OwnTable {
    /// An empty table: version 0, nothing seen.
    #[must_use]
    pub fn new(id: TableId) -> Self {
        Self {
            id,
            content: Content::default(),
            version: 0,
            sealed_as_of: Rev(0),
            as_of: Rev(0),
            dirty: RoaringTreemap::new(),
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

    /// The last sealed version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What the table says of a pin that changed last at `rev`. A phase from before that change
    /// does not count: the pin is queued. `None`: the peer has nothing to do with it.
    #[must_use]
    pub fn status(&self, seq: Seq, rev: Rev) -> Option<(PinPhase, Option<&Detail>)> {
        self.content.shown(seq, rev, self.as_of)
    }

    /// Puts a pin into a phase.
    pub fn set(&mut self, seq: Seq, phase: PinPhase, detail: Option<Detail>) {
        if self.content.set(seq, Some(phase), detail, self.version + 1) {
            self.dirty.insert(seq.0);
        }
    }

    /// Puts many pins of one block into a phase, without details.
    pub fn set_many(&mut self, block: u64, lows: &RoaringBitmap, phase: PinPhase) {
        for low in self.content.assign(block, lows, phase, self.version + 1) {
            self.dirty.insert(join(block, low as u16).0);
        }
    }

    /// Takes a pin out of the table: this peer has nothing to do with it.
    pub fn clear(&mut self, seq: Seq) {
        if self.content.set(seq, None, None, self.version + 1) {
            self.dirty.insert(seq.0);
        }
    }

    /// Every change of the state up to `as_of` that concerns this peer has been seen to. Never
    /// goes back.
    pub fn advance(&mut self, as_of: Rev) {
        self.as_of = self.as_of.max(as_of);
    }

    /// Whether pins have changed that no delta has carried: others show something old.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether there is something that no delta has carried.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.as_of != self.sealed_as_of
    }

    /// Makes the next version, with as much of what waits as one message carries. What stays behind
    /// keeps `as_of` behind too.
    pub fn seal(&mut self) -> Option<Delta> {
        if !self.is_dirty() {
            return None;
        }
        let mut taken: Vec<(u64, RoaringBitmap)> = Vec::new();
        let mut weight = 0;
        for seq in &self.dirty {
            let (no, low) = split(Seq(seq));
            if taken.last().is_none_or(|(last, _)| *last != no) {
                taken.push((no, RoaringBitmap::new()));
                weight += 64;
            }
            if let Some((_, lows)) = taken.last_mut() {
                lows.insert(low.into());
            }
            weight += 2 + self.content.detail_weight(Seq(seq));
            if weight >= STATUS_DELTA_BYTES {
                break;
            }
        }
        let changes = taken
            .iter()
            .map(|(no, lows)| self.content.values(*no, lows))
            .collect();
        for (no, lows) in &taken {
            for low in lows {
                self.dirty.remove(join(*no, low as u16).0);
            }
        }
        let from = self.version;
        self.version += 1;
        if self.dirty.is_empty() {
            self.sealed_as_of = self.as_of;
        } else {
            // A puller of this version must find what waits among what changed after it.
            self.restamp_dirty();
        }
        Some(Delta {
            table: self.id.clone(),
            from,
            to: self.version,
            as_of: self.sealed_as_of,
            changes,
        })
    }

    fn restamp_dirty(&mut self) {
        let blocks: Vec<u64> = block_numbers(&self.dirty);
        self.content.stamp(&blocks, self.version + 1);
    }

    /// What a copy of the present version must hash to; `None` while something waits to be sealed.
    pub fn digest(&mut self) -> Option<Digest> {
        (!self.is_dirty()).then(|| Digest {
            table: self.id.clone(),
            version: self.version,
            as_of: self.sealed_as_of,
            root: self.content.root(),
        })
    }

    /// Answers a puller.
    pub fn answer(&mut self, request: &PullRequest) -> PullResponse {
        let source = pull::Source {
            table: &self.id,
            version: self.version,
            as_of: self.sealed_as_of,
            age_ms: 0,
            owner: true,
        };
        source.answer(&mut self.content, request)
    }
}

/// The blocks that hold the set's seqs, ascending.
fn block_numbers(set: &RoaringTreemap) -> Vec<u64> {
    let mut out = Vec::new();
    let mut iter = set.iter();
    while let Some(seq) = iter.next() {
        let (no, _) = split(Seq(seq));
        out.push(no);
        match no.checked_add(1).filter(|n| *n <= u64::MAX >> 16) {
            Some(next) => iter.advance_to(join(next, 0).0),
            None => break,
        }
    }
    out
}
