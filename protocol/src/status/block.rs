//! One block of a status table: the phases of 65 536 consecutive seqs.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{message::BlockHash, runs};
use crate::{limits::STATUS_ERROR_BYTES_MAX, pin::PinPhase, time::Timestamp};

/// What there is to tell about a pin that is not plainly in its phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Why it failed last; empty if it did not.
    pub error: String,
    /// Tries that failed.
    pub attempts: u32,
    /// When it came into its phase.
    pub at: Timestamp,
}

impl Detail {
    /// The same with its text cut to the bound, at a character.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if self.error.len() > STATUS_ERROR_BYTES_MAX {
            let cut = self.error.floor_char_boundary(STATUS_ERROR_BYTES_MAX);
            self.error.truncate(cut);
        }
        self
    }
}

/// A phase's place in arrays.
pub(super) fn slot(phase: PinPhase) -> usize {
    phase as usize - 1
}

#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// Per phase the low 16 bits of its seqs; a seq is in one phase at most.
    phases: [RoaringBitmap; 8],
    /// Of seqs that are in a phase.
    details: BTreeMap<u16, Detail>,
    /// The version that changed it last.
    pub(super) changed: u64,
    /// Of the present content, once somebody asked.
    hash: Option<BlockHash>,
}

impl Block {
    pub(super) fn phase(&self, low: u16) -> Option<PinPhase> {
        PinPhase::ALL
            .into_iter()
            .find(|&p| self.phases[slot(p)].contains(low.into()))
    }

    pub(super) fn detail(&self, low: u16) -> Option<&Detail> {
        self.details.get(&low)
    }

    pub(super) fn details_len(&self) -> usize {
        self.details.len()
    }

    pub(super) fn details_in(&self, lo: u16, hi: u16) -> impl Iterator<Item = (u16, &Detail)> {
        self.details.range(lo..=hi).map(|(&low, d)| (low, d))
    }

    pub(super) fn of_phase(&self, phase: PinPhase) -> &RoaringBitmap {
        &self.phases[slot(phase)]
    }

    /// Sets or clears; says what was there.
    pub(super) fn set(
        &mut self,
        low: u16,
        phase: Option<PinPhase>,
        detail: Option<Detail>,
    ) -> (Option<PinPhase>, Option<Detail>) {
        let old = self.phase(low);
        if old != phase {
            if let Some(old) = old {
                self.phases[slot(old)].remove(low.into());
            }
            if let Some(new) = phase {
                self.phases[slot(new)].insert(low.into());
            }
        }
        let old_detail = match detail {
            Some(detail) if phase.is_some() => self.details.insert(low, detail),
            _ => self.details.remove(&low),
        };
        self.hash = None;
        (old, old_detail)
    }

    /// Puts every seq of `lows` into `phase`, or into none, without details.
    pub(super) fn assign(&mut self, phase: Option<PinPhase>, lows: &RoaringBitmap) {
        for old in &mut self.phases {
            if !old.is_empty() {
                *old -= lows;
            }
        }
        if let Some(phase) = phase {
            self.phases[slot(phase)] |= lows;
        }
        if lows.len() < self.details.len() as u64 {
            for low in lows {
                self.details.remove(&(low as u16));
            }
        } else {
            self.details.retain(|&low, _| !lows.contains(low.into()));
        }
        self.hash = None;
    }

    /// Adds a detail to a seq that is in a phase.
    pub(super) fn put_detail(&mut self, low: u16, detail: Detail) {
        self.details.insert(low, detail);
        self.hash = None;
    }

    /// How many seqs are in each phase.
    pub(super) fn counts(&self) -> [u64; 8] {
        std::array::from_fn(|i| self.phases[i].len())
    }

    /// Which seqs of `lo..=hi` are in the phase.
    pub(super) fn slice(&self, phase: PinPhase, lo: u16, hi: u16) -> RoaringBitmap {
        let set = self.of_phase(phase);
        if set.is_empty() || (lo, hi) == (0, u16::MAX) {
            return set.clone();
        }
        let mut window = RoaringBitmap::new();
        window.insert_range(u32::from(lo)..=u32::from(hi));
        window & set
    }

    /// Every seq that is in some phase.
    pub(super) fn all(&self) -> RoaringBitmap {
        self.phases
            .iter()
            .fold(RoaringBitmap::new(), |all, p| all | p)
    }

    /// Hash of the content, `None` when there is none: an emptied block is as one never used.
    pub(super) fn hash(&mut self) -> Option<BlockHash> {
        if self.phases.iter().all(RoaringBitmap::is_empty) {
            return None;
        }
        if self.hash.is_none() {
            self.hash = Some(self.compute_hash());
        }
        self.hash
    }

    fn compute_hash(&self) -> BlockHash {
        let mut sha = Sha256::new();
        for phase in PinPhase::ALL {
            let set = self.of_phase(phase);
            if !set.is_empty() {
                let bytes = runs::encode(set);
                sha.update([phase as u8]);
                sha.update((bytes.len() as u64).to_be_bytes());
                sha.update(&bytes);
            }
        }
        for (low, detail) in &self.details {
            sha.update([0]);
            sha.update(low.to_be_bytes());
            sha.update(detail.attempts.to_be_bytes());
            sha.update(detail.at.0.to_be_bytes());
            sha.update((detail.error.len() as u64).to_be_bytes());
            sha.update(detail.error.as_bytes());
        }
        BlockHash::of(sha)
    }
}
