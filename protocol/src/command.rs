//! What the log holds: entries of commands, and what becomes of each when it is applied.
//!
//! The serde names are short because they are in every log entry, and they are fixed because the
//! log is on disk. An unknown field or variant is refused and stops the peer: skipping it would
//! make this peer's state differ from the others'.

mod outcome;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, MemberNo, PeerId, Rev, Seq},
    pin::PinSpec,
    request::{RequestId, RequestKey},
    time::Timestamp,
};

pub use outcome::{Outcome, Rejection};

/// The feature level of requests of the Pinning Service API.
pub const LEVEL_REQUESTS: u32 = 2;
/// The feature level of sizes that are learnt.
pub const LEVEL_SIZES: u32 = 3;
/// The highest feature level that this version can apply.
pub const FEATURE_LEVEL_MAX: u32 = LEVEL_SIZES;

/// One log entry: what waited while the previous one was being synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `max(previous entry's time, the leader's wall clock)`.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// In order; at most `ENTRY_COMMANDS_MAX` and `ENTRY_BYTES_MAX`.
    #[serde(rename = "c")]
    pub commands: Vec<Envelope>,
}

/// A command and the place of its request in its origin's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Tells a repeat from a new command.
    #[serde(rename = "s")]
    pub session: Session,
    /// What to do.
    #[serde(rename = "c")]
    pub command: Command,
}

/// Guards against repeats: per peer, not per request.
///
/// A request keeps its `n` through all its repeats, also when its placement is decided again
/// after a conflict: only what was applied uses `n` up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The peer whose client asked.
    #[serde(rename = "o")]
    pub origin: PeerId,
    /// Rises at each start of the origin.
    #[serde(rename = "b")]
    pub boot: Boot,
    /// Counts up per command.
    #[serde(rename = "n")]
    pub n: u64,
    /// The lowest `n` that the origin still waits for.
    #[serde(rename = "f")]
    pub floor: u64,
}

/// The state a command was decided from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfRev {
    /// Whatever is there.
    #[serde(rename = "any")]
    Any,
    /// There is no live pin.
    #[serde(rename = "no")]
    Absent,
    /// The pin's last change is this one.
    #[serde(rename = "is")]
    Is(Rev),
}

/// A change of the state. A variant is only ever added at the end, behind a feature level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are the large one"
)]
pub enum Command {
    /// The first command of a cluster's log.
    Init {
        /// The cluster's name.
        #[serde(rename = "c")]
        cluster: ClusterId,
        /// 1, or higher after a recovery.
        #[serde(rename = "e")]
        epoch: Epoch,
    },
    /// Pin, or change a pin. The spec is taken whatever `if_rev` says; the placement only if it
    /// still fits, else the outcome is `Conflict` and nothing changes.
    ///
    /// A peer that is allocated now and is not in `allocations` stays allocated behind them, until
    /// a `Place` releases it: a pin never gives up a copy before the others are confirmed.
    Pin {
        /// What the user wants.
        #[serde(rename = "s")]
        spec: PinSpec,
        /// Who shall hold it (empty when everywhere), decided from `if_rev`.
        #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
        allocations: Vec<PeerId>,
        /// What the placement was decided from.
        #[serde(rename = "i")]
        if_rev: IfRev,
    },
    /// Remove a pin.
    Unpin {
        /// Which.
        #[serde(rename = "c")]
        cid: Cid,
    },
    /// Change who holds a pin: repair, drain, release.
    Place {
        /// Which.
        #[serde(rename = "q")]
        seq: Seq,
        /// What it was decided from.
        #[serde(rename = "i")]
        if_rev: Rev,
        /// Who shall hold it from now on.
        #[serde(rename = "a")]
        allocations: Vec<PeerId>,
        /// Peers that confirmed (by `holds`) that they have it: a release counts on these alone.
        #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
        confirmed: Vec<PeerId>,
    },
    /// Remove a pin whose time is over.
    Expire {
        /// Which.
        #[serde(rename = "q")]
        seq: Seq,
        /// What it was decided from.
        #[serde(rename = "i")]
        if_rev: Rev,
    },
    /// What this peer had to unpin is gone from its IPFS node: tombstones and releases.
    Gone {
        /// Who says so.
        #[serde(rename = "p")]
        peer: PeerId,
        /// The rev up to which the peer had seen the state: what changed since is left alone.
        #[serde(rename = "r")]
        as_of: Rev,
        /// Which; at most `GONE_SEQS_MAX`.
        #[serde(rename = "q")]
        seqs: Vec<Seq>,
    },
    /// Admit a peer, or a new life of a member.
    AddMember {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Its present life.
        #[serde(rename = "i")]
        incarnation: Incarnation,
        /// Shown to users.
        #[serde(rename = "n")]
        name: String,
        /// `tag:` values and other labels.
        #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
    },
    /// Take a peer out of the membership. Without `force`, it must hold no pin.
    RemoveMember {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Also while pins are allocated to it (the peer is dead, or `drain=false`).
        #[serde(rename = "f")]
        force: bool,
    },
    /// Start or stop moving everything away from a peer.
    Drain {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Start or stop.
        #[serde(rename = "o")]
        on: bool,
    },
    /// The peer was found dead.
    Down {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
    },
    /// The peer is back.
    Up {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
    },
    /// Permit commands up to this version.
    FeatureLevel {
        /// The new level.
        #[serde(rename = "l")]
        level: u32,
    },
    /// Change what is said of a member; never admits one.
    Describe {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Shown to users.
        #[serde(rename = "n")]
        name: String,
        /// `tag:` values and other labels.
        #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
    },
    /// Fence off what a recovery or a restore left behind.
    RaiseEpoch {
        /// Higher than the present one.
        #[serde(rename = "e")]
        epoch: Epoch,
    },
    /// Forget what a removed member had still to unpin, `SWEEP_SEQS_MAX` pins at a time, and at
    /// last its row. The leader repeats it while [`crate::state::query::departed`] names it.
    Sweep {
        /// The removed member's number.
        #[serde(rename = "m")]
        member: MemberNo,
    },
    /// Accept a request of the Pinning Service API: pin as `Pin` does, and note who asked for it.
    Request {
        /// Its id, never given before.
        #[serde(rename = "d")]
        id: RequestId,
        /// What is asked for.
        #[serde(rename = "s")]
        spec: PinSpec,
        /// Who shall hold it, decided from `if_rev`.
        #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
        allocations: Vec<PeerId>,
        /// What the placement was decided from.
        #[serde(rename = "i")]
        if_rev: IfRev,
        /// What it takes the place of; that must be there, and is withdrawn with it.
        #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
        replaces: Option<RequestKey>,
    },
    /// Withdraw a request. With the last one of a pin goes the pin.
    Withdraw {
        /// Which.
        #[serde(rename = "d")]
        id: RequestId,
    },
    /// Keep what a peer learnt of the sizes of pins while its IPFS node fetched them. No edit of a
    /// pin: neither its rev nor its time changes, and what is known of a size already stays.
    Sized {
        /// Of which; at most `SIZES_PER_REPORT_MAX`.
        #[serde(rename = "z")]
        sizes: Vec<LearntSize>,
    },
}

/// How much the blocks of a pin take, as its first holder counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Seq, Rev, u64)", into = "(Seq, Rev, u64)")]
pub struct LearntSize {
    /// Of which pin.
    pub seq: Seq,
    /// The pin's last change that the holder knew: said of what it was then, not of what it became.
    pub rev: Rev,
    /// Bytes; 0 says nothing.
    pub bytes: u64,
}

impl From<(Seq, Rev, u64)> for LearntSize {
    fn from((seq, rev, bytes): (Seq, Rev, u64)) -> Self {
        Self { seq, rev, bytes }
    }
}

impl From<LearntSize> for (Seq, Rev, u64) {
    fn from(size: LearntSize) -> Self {
        (size.seq, size.rev, size.bytes)
    }
}

impl Command {
    /// The feature level from which this command may be proposed.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        match self {
            Self::Init { .. }
            | Self::Pin { .. }
            | Self::Unpin { .. }
            | Self::Place { .. }
            | Self::Expire { .. }
            | Self::Gone { .. }
            | Self::AddMember { .. }
            | Self::RemoveMember { .. }
            | Self::Drain { .. }
            | Self::Down { .. }
            | Self::Up { .. }
            | Self::FeatureLevel { .. }
            | Self::Describe { .. }
            | Self::RaiseEpoch { .. }
            | Self::Sweep { .. } => 1,
            Self::Request { .. } | Self::Withdraw { .. } => LEVEL_REQUESTS,
            Self::Sized { .. } => LEVEL_SIZES,
        }
    }
}
