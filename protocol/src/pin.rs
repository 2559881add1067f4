//! What a pin is: what the user asked for, and what the cluster made of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Cid, PeerId, Rev, Seq},
    time::Timestamp,
};

/// How deep a pin holds its DAG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PinMode {
    /// The whole DAG.
    Recursive,
    /// The root block alone.
    Direct,
}

/// What a pin is for (API contract §13.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PinType {
    /// Ordinary content: `pin`.
    Data,
    /// The root of a sharded DAG, never pinned itself: `meta-pin`.
    Meta,
    /// The list of shards: `clusterdag-pin`.
    ClusterDag,
    /// One shard: `shard-pin`.
    Shard,
}

/// How many peers hold a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// What a user asked for. Last writer wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinSpec {
    /// The root.
    pub cid: Cid,
    /// Free text, at most 255 characters.
    pub name: String,
    /// Recursive or direct.
    pub mode: PinMode,
    /// What it is for.
    pub pin_type: PinType,
    /// Copies wanted; defaults already filled in.
    pub replication: Replication,
    /// Peers the user wants first.
    pub user_allocations: Vec<PeerId>,
    /// When the cluster removes it.
    pub expire_at: Option<Timestamp>,
    /// Free key/value pairs.
    pub metadata: BTreeMap<String, String>,
    /// The pin it was made from, which lets the IPFS node re-use what it holds.
    pub pin_update: Option<Cid>,
    /// Multiaddrs (with `/p2p/`) of nodes that have the content.
    pub origins: Vec<String>,
    /// Target size of a shard in bytes, 0 for none.
    pub shard_size: u64,
    /// Another CID this pin belongs to (API contract §13.3).
    pub reference: Option<Cid>,
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
    /// Who holds it, in order of choice; empty when everywhere.
    pub allocations: Vec<PeerId>,
    /// When it was submitted.
    pub timestamp: Timestamp,
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
