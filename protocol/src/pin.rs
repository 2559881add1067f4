//! What a pin is: what the user asked for, and what the cluster made of it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Cid, PeerId, Rev, Seq},
    limits::{
        METADATA_PAIRS_MAX, NAME_CHARS_MAX, ORIGINS_MAX, SPEC_BYTES_MAX, USER_ALLOCATIONS_MAX,
    },
    time::Timestamp,
};

/// How deep a pin holds its DAG.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum PinMode {
    /// The whole DAG.
    #[default]
    #[serde(rename = "recursive")]
    Recursive,
    /// The root block alone.
    #[serde(rename = "direct")]
    Direct,
}

impl fmt::Display for PinMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recursive => "recursive",
            Self::Direct => "direct",
        })
    }
}

/// What a pin is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum PinType {
    /// Ordinary content: `pin`.
    #[default]
    #[serde(rename = "pin")]
    Data,
    /// The root of a sharded DAG, never pinned itself: `meta-pin`.
    #[serde(rename = "meta-pin")]
    Meta,
    /// The list of shards: `clusterdag-pin`.
    #[serde(rename = "clusterdag-pin")]
    ClusterDag,
    /// One shard: `shard-pin`.
    #[serde(rename = "shard-pin")]
    Shard,
}

impl PinType {
    /// All of them, in the order of their ordinals in the API.
    pub const ALL: [Self; 4] = [Self::Data, Self::Meta, Self::ClusterDag, Self::Shard];

    /// The name users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "pin",
            Self::Meta => "meta-pin",
            Self::ClusterDag => "clusterdag-pin",
            Self::Shard => "shard-pin",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

impl fmt::Display for PinType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many peers hold a pin. Stored and sent as the pair (min, max), (-1, -1) for everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "(i32, i32)", try_from = "(i32, i32)")]
pub enum Replication {
    /// Every member, also those that join later: `-1`.
    Everywhere,
    /// At least `min` or the pin is refused; up to `max`. `1 <= min <= max`.
    Factor {
        /// Fewest copies.
        min: u32,
        /// Most copies.
        max: u32,
    },
}

/// Why a pair of replication factors is no [`Replication`]; the texts are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// One of them is 0, which only means "the default" in a request.
    #[error("cluster.replication_factor_min and max must be set")]
    Unset,
    /// `min > max`.
    #[error("cluster.replication_factor_min is larger than max")]
    MinAboveMax,
    /// `min < -1`.
    #[error("cluster.replication_factor_min is wrong")]
    BadMin,
    /// One is -1 and the other is not.
    #[error("cluster.replication_factor_min and max must be -1 when one of them is")]
    HalfEverywhere,
}

impl Replication {
    /// Checks a pair of factors as users write them: both -1, or `1 <= min <= max`.
    pub fn new(min: i32, max: i32) -> Result<Self, ReplicationError> {
        if min == 0 || max == 0 {
            Err(ReplicationError::Unset)
        } else if min > max {
            Err(ReplicationError::MinAboveMax)
        } else if min < -1 {
            Err(ReplicationError::BadMin)
        } else if min == -1 && max == -1 {
            Ok(Self::Everywhere)
        } else if min == -1 {
            Err(ReplicationError::HalfEverywhere)
        } else {
            Ok(Self::Factor {
                min: min.unsigned_abs(),
                max: max.unsigned_abs(),
            })
        }
    }

    /// Checks a request's factors, where 0 stands for the default; each is taken on its own.
    pub fn with_defaults(
        min: i32,
        max: i32,
        default: (i32, i32),
    ) -> Result<Self, ReplicationError> {
        Self::new(
            if min == 0 { default.0 } else { min },
            if max == 0 { default.1 } else { max },
        )
    }

    /// The lower factor as users write it.
    #[must_use]
    pub fn min(self) -> i32 {
        <(i32, i32)>::from(self).0
    }

    /// The upper factor as users write it.
    #[must_use]
    pub fn max(self) -> i32 {
        <(i32, i32)>::from(self).1
    }
}

impl From<Replication> for (i32, i32) {
    fn from(replication: Replication) -> Self {
        match replication {
            Replication::Everywhere => (-1, -1),
            Replication::Factor { min, max } => (
                i32::try_from(min).unwrap_or(i32::MAX),
                i32::try_from(max).unwrap_or(i32::MAX),
            ),
        }
    }
}

impl TryFrom<(i32, i32)> for Replication {
    type Error = ReplicationError;

    fn try_from((min, max): (i32, i32)) -> Result<Self, ReplicationError> {
        Self::new(min, max)
    }
}

/// What a user asked for. Last writer wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinSpec {
    /// The root.
    #[serde(rename = "c")]
    pub cid: Cid,
    /// Free text, at most 255 characters.
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Recursive or direct.
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    pub mode: PinMode,
    /// What it is for.
    #[serde(rename = "t", default, skip_serializing_if = "is_default")]
    pub pin_type: PinType,
    /// Copies wanted; defaults already filled in.
    #[serde(rename = "f")]
    pub replication: Replication,
    /// Peers the user wants first.
    #[serde(rename = "u", default, skip_serializing_if = "Vec::is_empty")]
    pub user_allocations: Vec<PeerId>,
    /// When the cluster removes it.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<Timestamp>,
    /// Free key/value pairs.
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The pin it was made from, which lets the IPFS node re-use what it holds.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub pin_update: Option<Cid>,
    /// Multiaddrs (with `/p2p/`) of nodes that have the content.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Target size of a shard in bytes, 0 for none.
    #[serde(rename = "s", default, skip_serializing_if = "is_default")]
    pub shard_size: u64,
    /// Bytes that its blocks take, where that is known: after an add; 0 where it is not.
    #[serde(rename = "z", default, skip_serializing_if = "is_default")]
    pub size: u64,
    /// Another CID this pin belongs to.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cid>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A spec that breaks a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// More than `NAME_CHARS_MAX` characters.
    #[error("the name is longer than {NAME_CHARS_MAX} characters")]
    Name,
    /// More than `METADATA_PAIRS_MAX` pairs.
    #[error("more than {METADATA_PAIRS_MAX} metadata entries")]
    Metadata,
    /// More than `ORIGINS_MAX`.
    #[error("more than {ORIGINS_MAX} origins")]
    Origins,
    /// More than `USER_ALLOCATIONS_MAX`.
    #[error("more than {USER_ALLOCATIONS_MAX} user allocations")]
    UserAllocations,
    /// The whole of it is over `SPEC_BYTES_MAX`.
    #[error("the pin's options take more than {SPEC_BYTES_MAX} bytes")]
    Bytes,
}

impl PinSpec {
    /// A recursive data pin without options.
    #[must_use]
    pub fn new(cid: Cid, replication: Replication) -> Self {
        Self {
            cid,
            name: String::new(),
            mode: PinMode::Recursive,
            pin_type: PinType::Data,
            replication,
            user_allocations: Vec::new(),
            expire_at: None,
            metadata: BTreeMap::new(),
            pin_update: None,
            origins: Vec::new(),
            shard_size: 0,
            size: 0,
            reference: None,
        }
    }

    /// Checks the bounds of everything a user can make long.
    pub fn check(&self) -> Result<(), SpecError> {
        // Counting characters only where the bytes could be too many keeps this cheap.
        if self.name.len() > NAME_CHARS_MAX && self.name.chars().count() > NAME_CHARS_MAX {
            return Err(SpecError::Name);
        }
        if self.metadata.len() > METADATA_PAIRS_MAX {
            return Err(SpecError::Metadata);
        }
        if self.origins.len() > ORIGINS_MAX {
            return Err(SpecError::Origins);
        }
        if self.user_allocations.len() > USER_ALLOCATIONS_MAX {
            return Err(SpecError::UserAllocations);
        }
        let texts = self.metadata.iter().map(|(k, v)| k.len() + v.len());
        let origins = self.origins.iter().map(String::len);
        let peers = self.user_allocations.iter().map(|p| p.as_bytes().len());
        let bytes: usize = texts.chain(origins).chain(peers).map(|len| len + 4).sum();
        if bytes + self.name.len() > SPEC_BYTES_MAX {
            return Err(SpecError::Bytes);
        }
        Ok(())
    }

    /// Whether the size of what it holds is unknown and worth learning. A direct pin holds one block,
    /// and what a shard takes is told when it is made.
    #[must_use]
    pub fn learns_size(&self) -> bool {
        self.size == 0 && self.mode == PinMode::Recursive && self.pin_type == PinType::Data
    }

    /// Who holds such a pin.
    #[must_use]
    pub fn holding(&self) -> Holding {
        match (self.pin_type, self.replication) {
            (PinType::Meta, _) => Holding::Nobody,
            (_, Replication::Everywhere) => Holding::Everywhere,
            (_, Replication::Factor { min, max }) => Holding::Allocated { min, max },
        }
    }
}

/// Who holds a pin, as its spec says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// No peer: the pin only stands for others.
    Nobody,
    /// Every member.
    Everywhere,
    /// The peers it is allocated to.
    Allocated {
        /// Fewest copies.
        min: u32,
        /// Most copies.
        max: u32,
    },
}

/// A pin of the cluster's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its number.
    pub seq: Seq,
    /// The command that changed it last.
    pub rev: Rev,
    /// What was asked for.
    pub spec: PinSpec,
    /// Who holds it, in order of choice; empty when everywhere. Longer than `copies` while peers
    /// at the end wait to be released, shorter when replacements lack.
    pub allocations: Vec<PeerId>,
    /// How many copies its last placement by a user gave it: what repair goes back to.
    pub copies: u32,
    /// When it was submitted.
    pub timestamp: Timestamp,
}

/// A removed pin that some peers have still to unpin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The number it had, and has again if its CID is pinned again.
    pub seq: Seq,
    /// What to unpin.
    pub cid: Cid,
    /// The command that removed it.
    pub rev: Rev,
    /// When it was removed.
    pub removed_at: Timestamp,
    /// Members that have not yet reported it gone.
    pub holders: Vec<PeerId>,
}

/// How far one peer has come with one pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum PinPhase {
    /// Waits for a worker.
    PinQueued = 1,
    /// The IPFS node fetches it.
    Pinning = 2,
    /// Held as wanted.
    Pinned = 3,
    /// The IPFS node failed or stalled; will be retried.
    PinError = 4,
    /// Waits to be unpinned.
    UnpinQueued = 5,
    /// Is being unpinned.
    Unpinning = 6,
    /// The IPFS node refused to unpin; will be retried.
    UnpinError = 7,
    /// Should be held here, is not, and nothing runs.
    UnexpectedlyUnpinned = 8,
}

impl PinPhase {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PinQueued,
        Self::Pinning,
        Self::Pinned,
        Self::PinError,
        Self::UnpinQueued,
        Self::Unpinning,
        Self::UnpinError,
        Self::UnexpectedlyUnpinned,
    ];
}
