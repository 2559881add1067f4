//! The content of a status table, without its name and version.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

use super::{
    block::{Block, Detail, slot},
    message::{BlockHash, Change, Range},
    runs,
};
use crate::{
    id::{Rev, Seq},
    limits::{STATUS_BLOCKS_MAX, STATUS_DETAILS_MAX, STATUS_PAGE_BYTES},
    pin::PinPhase,
};

/// The block and the place in it of a seq.
pub(super) fn split(seq: Seq) -> (u64, u16) {
    (seq.0 >> 16, (seq.0 & 0xffff) as u16)
}

/// The seq at a place of a block.
pub(super) fn join(block: u64, low: u16) -> Seq {
    Seq((block << 16) | u64::from(low))
}

/// The highest block number there can be.
const LAST_BLOCK: u64 = u64::MAX >> 16;

/// Seqs of a range that is cut out of a block with many details.
const FINE_RANGE: u16 = 1024;

/// How many pins are in each phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PhaseCounts([u64; 8]);

impl PhaseCounts {
    /// Pins in one phase.
    #[must_use]
    pub fn get(&self, phase: PinPhase) -> u64 {
        self.0[slot(phase)]
    }

    /// Phase by phase.
    pub fn iter(&self) -> impl Iterator<Item = (PinPhase, u64)> + '_ {
        PinPhase::ALL.into_iter().map(|p| (p, self.get(p)))
    }

    /// Adds another table's.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }

    fn replace(&mut self, before: [u64; 8], after: [u64; 8]) {
        for (n, (b, a)) in self.0.iter_mut().zip(before.into_iter().zip(after)) {
            *n = n.saturating_sub(b).saturating_add(a);
        }
    }
}

/// A set of phases.
pub type PhaseSet = BTreeSet<PinPhase>;

/// Phases and details by seq.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// By seq / 65 536. An emptied block stays, so that its emptying can be told.
    blocks: BTreeMap<u64, Block>,
    counts: PhaseCounts,
    details: usize,
}

/// A received change that breaks the rules of its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed status content")]
pub(super) struct Malformed;

impl Content {
    /// The phase of a pin and what there is to tell about it.
    #[must_use]
    pub fn get(&self, seq: Seq) -> Option<(PinPhase, Option<&Detail>)> {
        let (no, low) = split(seq);
        let block = self.blocks.get(&no)?;
        block.phase(low).map(|p| (p, block.detail(low)))
    }

    /// How many pins are in each phase.
    #[must_use]
    pub fn counts(&self) -> PhaseCounts {
        self.counts
    }

    /// The places in a block of 65 536 seqs that are in any phase.
    #[must_use]
    pub fn known(&self, block: u64) -> RoaringBitmap {
        self.blocks.get(&block).map(Block::all).unwrap_or_default()
    }

    /// At most `limit` seqs `>= from` that are in one of `phases`, ascending.
    #[must_use]
    pub fn page(&self, phases: &PhaseSet, from: Seq, limit: usize) -> Vec<Seq> {
        let (first, low) = split(from);
        let mut out = Vec::new();
        for (&no, block) in self.blocks.range(first..) {
            let lo = if no == first { low } else { 0 };
            let mut hit = RoaringBitmap::new();
            for &phase in phases {
                hit |= block.slice(phase, lo, u16::MAX);
            }
            let room = limit - out.len();
            out.extend(hit.iter().take(room).map(|l| join(no, l as u16)));
            if out.len() >= limit {
                break;
            }
        }
        out
    }

    /// What a table that has seen the state up to `as_of` says of a pin that changed last at `rev`:
    /// what it does not know of yet is queued.
    pub(super) fn shown(
        &self,
        seq: Seq,
        rev: Rev,
        as_of: Rev,
    ) -> Option<(PinPhase, Option<&Detail>)> {
        if as_of < rev {
            Some((PinPhase::PinQueued, None))
        } else {
            self.get(seq)
        }
    }

    /// Sets or clears one pin; says whether that changed anything. Over the bound a detail is left
    /// out: the phase is what counts.
    pub(super) fn set(
        &mut self,
        seq: Seq,
        phase: Option<PinPhase>,
        detail: Option<Detail>,
        version: u64,
    ) -> bool {
        let (no, low) = split(seq);
        let had = self.blocks.get(&no).and_then(|b| b.detail(low)).is_some();
        let detail = detail
            .filter(|_| phase.is_some() && (had || self.details < STATUS_DETAILS_MAX))
            .map(Detail::bounded);
        if self.get(seq) == phase.map(|p| (p, detail.as_ref())) {
            return false;
        }
        let has = detail.is_some();
        let block = self.blocks.entry(no).or_default();
        block.changed = version;
        let (old, _) = block.set(low, phase, detail);
        let one = |p: Option<PinPhase>| {
            let mut n = [0; 8];
            if let Some(p) = p {
                n[slot(p)] = 1;
            }
            n
        };
        self.counts.replace(one(old), one(phase));
        self.details = self.details + usize::from(has) - usize::from(had);
        true
    }

    /// Puts all given seqs of a block into a phase, without details; yields those that were in
    /// another one, or had details.
    pub(super) fn assign(
        &mut self,
        no: u64,
        lows: &RoaringBitmap,
        phase: PinPhase,
        version: u64,
    ) -> RoaringBitmap {
        let block = self.blocks.entry(no).or_default();
        let mut changed = lows - block.of_phase(phase);
        let with_detail = block.details_in(0, u16::MAX).map(|(low, _)| u32::from(low));
        changed |= with_detail.collect::<RoaringBitmap>() & lows;
        if !changed.is_empty() {
            let (counts, details) = (block.counts(), block.details_len());
            block.assign(Some(phase), &changed);
            block.changed = version;
            self.counts.replace(counts, block.counts());
            self.details = self.details + block.details_len() - details;
        }
        changed
    }

    /// The values of some seqs of one block.
    pub(super) fn values(&self, no: u64, lows: &RoaringBitmap) -> Change {
        let mut phases = Vec::new();
        let mut details = Vec::new();
        let mut rest = lows.clone();
        if let Some(block) = self.blocks.get(&no) {
            for phase in PinPhase::ALL {
                let set = block.of_phase(phase) & lows;
                if !set.is_empty() {
                    rest -= &set;
                    phases.push((phase as u8, ByteBuf::from(runs::encode(&set))));
                }
            }
            details = lows
                .iter()
                .filter_map(|l| Some((l as u16, block.detail(l as u16)?.clone())))
                .collect();
        }
        if !rest.is_empty() {
            phases.push((0, ByteBuf::from(runs::encode(&rest))));
        }
        Change {
            block: no,
            phases,
            details,
        }
    }

    /// Roughly the encoded bytes of one seq's detail.
    pub(super) fn detail_weight(&self, seq: Seq) -> usize {
        self.get(seq)
            .and_then(|(_, d)| d)
            .map_or(0, |d| d.error.len() + 48)
    }

    /// Takes the values of a delta.
    pub(super) fn apply(&mut self, change: &Change, version: u64) -> Result<(), Malformed> {
        let sets = change.sets().ok_or(Malformed)?;
        self.edit(change, sets, None, version)
    }

    /// Makes a range what the holder has there.
    pub(super) fn apply_range(&mut self, range: &Range) -> Result<(), Malformed> {
        let sets = range.content.sets().ok_or(Malformed)?;
        let (lo, hi) = (u32::from(range.lo), u32::from(range.hi));
        let inside =
            |s: &RoaringBitmap| s.min().is_none_or(|m| m >= lo) && s.max().is_none_or(|m| m <= hi);
        if lo > hi || !sets.iter().all(|(_, s)| inside(s)) {
            return Err(Malformed);
        }
        self.edit(&range.content, sets, Some((lo, hi)), range.changed)
    }

    fn edit(
        &mut self,
        change: &Change,
        sets: Vec<(Option<PinPhase>, RoaringBitmap)>,
        clear: Option<(u32, u32)>,
        version: u64,
    ) -> Result<(), Malformed> {
        let known = self.blocks.contains_key(&change.block);
        if change.block > LAST_BLOCK || (!known && self.blocks.len() >= STATUS_BLOCKS_MAX) {
            return Err(Malformed);
        }
        let block = self.blocks.entry(change.block).or_default();
        let (counts, details) = (block.counts(), block.details_len());
        if let Some((lo, hi)) = clear {
            let mut window = RoaringBitmap::new();
            window.insert_range(lo..=hi);
            block.assign(None, &window);
        }
        for (phase, set) in sets {
            block.assign(phase, &set);
        }
        // A copy may for a while hold details that the owner has given up; twice its bound will do.
        let room = (2 * STATUS_DETAILS_MAX).saturating_sub(self.details);
        for (low, detail) in change.details.iter().take(room) {
            block.put_detail(*low, detail.clone());
        }
        block.changed = block.changed.max(version);
        self.counts.replace(counts, block.counts());
        self.details = self.details + block.details_len() - details;
        Ok(())
    }

    /// Hash over the hashes of all blocks that are not empty.
    pub(super) fn root(&mut self) -> BlockHash {
        let mut sha = Sha256::new();
        for (no, block) in &mut self.blocks {
            if let Some(hash) = block.hash() {
                sha.update(no.to_be_bytes());
                sha.update(hash.bytes());
            }
        }
        BlockHash::of(sha)
    }

    /// Hashes of at most `limit` blocks from block `from` on, and where the list stops being
    /// complete, if it does.
    pub(super) fn hashes(
        &mut self,
        from: u64,
        limit: usize,
    ) -> (Vec<(u64, BlockHash)>, Option<u64>) {
        let mut out = Vec::new();
        for (&no, block) in self.blocks.range_mut(from..) {
            if let Some(hash) = block.hash() {
                if out.len() >= limit {
                    return (out, Some(no));
                }
                out.push((no, hash));
            }
        }
        (out, None)
    }

    /// Marks blocks as changed by `version`.
    pub(super) fn stamp(&mut self, blocks: &[u64], version: u64) {
        for no in blocks {
            if let Some(block) = self.blocks.get_mut(no) {
                block.changed = version;
            }
        }
    }

    /// Numbers of the blocks from `from` on that changed after `version`.
    pub(super) fn changed_since(&self, version: u64, from: u64) -> Vec<u64> {
        let later = |(&no, b): (&u64, &Block)| (b.changed > version).then_some(no);
        self.blocks.range(from..).filter_map(later).collect()
    }

    /// Numbers of the blocks in `from..below` that hash to something else than listed.
    pub(super) fn differing(
        &mut self,
        listed: &[(u64, BlockHash)],
        from: u64,
        below: Option<u64>,
    ) -> Vec<u64> {
        let mut theirs: BTreeMap<u64, BlockHash> = listed.iter().copied().collect();
        let mut out = BTreeSet::new();
        for (&no, block) in self.blocks.range_mut(from..) {
            if below.is_some_and(|b| no >= b) {
                break;
            }
            if block.hash() != theirs.remove(&no) {
                out.insert(no);
            }
        }
        let inside = |no: &u64| *no >= from && below.is_none_or(|b| *no < b);
        out.extend(theirs.into_keys().filter(inside));
        out.into_iter().collect()
    }

    /// The content of the given blocks from seq `from` on, until a page is full, and where the
    /// next page begins.
    pub(super) fn ranges(&self, blocks: &[u64], from: Seq) -> (Vec<Range>, Option<Seq>) {
        let (first, first_low) = split(from);
        let mut out = Vec::new();
        let mut weight = 0;
        for &no in blocks.iter().filter(|&&no| no >= first) {
            let mut lo = if no == first { first_low } else { 0 };
            loop {
                if weight >= STATUS_PAGE_BYTES {
                    return (out, Some(join(no, lo)));
                }
                let range = self.range(no, lo);
                weight += range.content.weight();
                let hi = range.hi;
                out.push(range);
                match hi.checked_add(1) {
                    Some(next) => lo = next,
                    None => break,
                }
            }
        }
        (out, None)
    }

    /// As much of a block from `lo` on as fits into one range.
    fn range(&self, no: u64, lo: u16) -> Range {
        let empty = Block::default();
        let block = self.blocks.get(&no).unwrap_or(&empty);
        let fine = block
            .details_in(lo, u16::MAX)
            .take(FINE_RANGE.into())
            .count();
        let hi = if fine < FINE_RANGE.into() {
            u16::MAX
        } else {
            lo.saturating_add(FINE_RANGE - 1)
        };
        let phases = PinPhase::ALL
            .into_iter()
            .map(|p| (p, block.slice(p, lo, hi)))
            .filter(|(_, set)| !set.is_empty())
            .map(|(p, set)| (p as u8, ByteBuf::from(runs::encode(&set))))
            .collect();
        let details = block
            .details_in(lo, hi)
            .map(|(low, d)| (low, d.clone()))
            .collect();
        Range {
            lo,
            hi,
            changed: block.changed,
            content: Change {
                block: no,
                phases,
                details,
            },
        }
    }

    /// The seqs of a block that are in a phase.
    #[must_use]
    pub fn block_phase(&self, no: u64, phase: PinPhase) -> RoaringBitmap {
        let block = self.blocks.get(&no);
        block.map(|b| b.of_phase(phase).clone()).unwrap_or_default()
    }

    /// Every seq of a block that is in some phase (the owner's walk of its own table).
    #[must_use]
    pub fn block(&self, no: u64) -> RoaringBitmap {
        self.blocks.get(&no).map(Block::all).unwrap_or_default()
    }

    /// Numbers of the blocks that are known.
    pub fn block_numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().copied()
    }
}

/// Equal when they say the same of every pin; which version said it does not count. It walks all of
/// both: for tests and simulations.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        let all = |c: &Self| {
            let mut out = Vec::new();
            for (&no, block) in &c.blocks {
                for low in &block.all() {
                    let seq = join(no, low as u16);
                    out.push((seq, c.get(seq).map(|(p, d)| (p, d.cloned()))));
                }
            }
            out
        };
        all(self) == all(other) && self.counts == other.counts && self.details == other.details
    }
}
