//! What owners and holders of status tables send each other.

use std::fmt;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

use super::{block::Detail, runs};
use crate::{
    id::{Boot, Incarnation, PeerId, Rev, Seq},
    limits::STATUS_ERROR_BYTES_MAX,
    pin::PinPhase,
};

/// Which table: a peer's, in one of its lives, since one of its starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableId {
    /// The owner.
    pub peer: PeerId,
    /// Its life as a member.
    pub incarnation: Incarnation,
    /// Its start.
    pub boot: Boot,
}

impl TableId {
    /// Whether this table replaces `other`, a table of the same peer.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        (self.incarnation, self.boot) > (other.incarnation, other.boot)
    }
}

/// Half of a sha2-256.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHash(#[serde(with = "serde_bytes")] [u8; 16]);

impl BlockHash {
    pub(super) fn of(sha: Sha256) -> Self {
        let full = sha.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&full[..16]);
        Self(half)
    }

    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Values of seqs `block · 65 536 + low`, by phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// High bits of the seqs.
    pub block: u64,
    /// Phase (0: in none) and the encoded set of low bits that are in it; no low twice.
    pub phases: Vec<(u8, ByteBuf)>,
    /// Details of some of them.
    pub details: Vec<(u16, Detail)>,
}

impl Change {
    /// The sets, checked: phases exist, no seq is in two, details are bounded and belong to one.
    pub(super) fn sets(&self) -> Option<Vec<(Option<PinPhase>, RoaringBitmap)>> {
        if self.phases.len() > PinPhase::ALL.len() + 1 {
            return None;
        }
        let mut seen = RoaringBitmap::new();
        let mut cleared = RoaringBitmap::new();
        let mut out = Vec::with_capacity(self.phases.len());
        for (number, bytes) in &self.phases {
            let phase = match number {
                0 => None,
                n => Some(*PinPhase::ALL.get(usize::from(*n) - 1)?),
            };
            let set = runs::decode(bytes)?;
            if !seen.is_disjoint(&set) {
                return None;
            }
            seen |= &set;
            if phase.is_none() {
                cleared |= &set;
            }
            out.push((phase, set));
        }
        let fits = self.details.iter().all(|(low, d)| {
            seen.contains((*low).into())
                && !cleared.contains((*low).into())
                && d.error.len() <= STATUS_ERROR_BYTES_MAX
        });
        let in_order = self.details.is_sorted_by(|a, b| a.0 < b.0);
        (fits && in_order).then_some(out)
    }

    /// Roughly its encoded length.
    pub(super) fn weight(&self) -> usize {
        let sets: usize = self.phases.iter().map(|(_, b)| b.len() + 6).sum();
        let details: usize = self.details.iter().map(|(_, d)| d.error.len() + 48).sum();
        16 + sets + details
    }
}

/// What leads from one version to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Whose.
    pub table: TableId,
    /// Applies on this version.
    pub from: u64,
    /// And makes this one.
    pub to: u64,
    /// Of version `to`.
    pub as_of: Rev,
    /// By ascending block.
    pub changes: Vec<Change>,
}

impl Delta {
    /// Roughly its encoded length.
    #[must_use]
    pub fn weight(&self) -> usize {
        96 + self.changes.iter().map(Change::weight).sum::<usize>()
    }
}

/// What a copy of this version must hash to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Whose.
    pub table: TableId,
    /// Which.
    pub version: u64,
    /// Of that version.
    pub as_of: Rev,
    /// Hash over the blocks.
    pub root: BlockHash,
}

/// Which ranges a puller lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// Blocks changed after this version.
    Since(u64),
    /// Blocks whose hash is not the one listed (not listed: empty). The puller has this version.
    Differing {
        /// The puller's version.
        version: u64,
        /// By ascending block, from the request's `from` on.
        hashes: Vec<(u64, BlockHash)>,
        /// The list is complete below this block; `None`: to the end.
        below: Option<u64>,
    },
}

/// Asks the owner, or a holder, for a page of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Which table.
    pub table: TableId,
    /// Which part of it.
    pub want: Want,
    /// Seqs from here on.
    pub from: Seq,
}

/// The whole content of a range of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First low bits.
    pub lo: u16,
    /// Last low bits.
    pub hi: u16,
    /// The version that changed the block last.
    pub changed: u64,
    /// What is in it; seqs not named are in no phase.
    pub content: Change,
}

/// The answer to a [`PullRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullResponse {
    /// Part of the table.
    Page {
        /// The table.
        table: TableId,
        /// The version that a complete pull starting with this page leads to, at least.
        version: u64,
        /// Of that version.
        as_of: Rev,
        /// Milliseconds since the owner was heard of (0 from the owner).
        age_ms: u64,
        /// In order of seqs.
        ranges: Vec<Range>,
        /// Where the next page begins; `None`: this was the last.
        next: Option<Seq>,
    },
    /// The table of that peer is another one here.
    Other {
        /// Which.
        table: TableId,
    },
    /// Nothing newer here.
    Nothing,
}
