//! What the log holds: entries of commands, and what becomes of each when it is applied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, PeerId, Rev, Seq},
    pin::PinSpec,
    time::Timestamp,
};

/// One log entry: what waited while the previous one was being synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `max(previous entry's time, the leader's wall clock)`.
    pub at: Timestamp,
    /// In order; at most `ENTRY_COMMANDS_MAX` and `ENTRY_BYTES_MAX`.
    pub commands: Vec<Envelope>,
}

/// A command and the place of its request in its origin's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Tells a repeat from a new command.
    pub session: Session,
    /// What to do.
    pub command: Command,
}

/// Guards against repeats: per peer, not per request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The peer whose client asked.
    pub origin: PeerId,
    /// Rises at each start of the origin.
    pub boot: Boot,
    /// Counts up per command.
    pub n: u64,
    /// The lowest `n` that the origin still waits for.
    pub floor: u64,
}

/// The state a command was decided from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfRev {
    /// Whatever is there.
    Any,
    /// There is no live pin.
    Absent,
    /// The pin's last change is this one.
    Is(Rev),
}

/// A change of the state. A variant is only ever added at the end, behind a feature level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first command of a cluster's log.
    Init {
        /// The cluster's name.
        cluster: ClusterId,
        /// 1, or higher after a recovery.
        epoch: Epoch,
    },
    /// Pin, or change a pin. The spec is taken whatever `if_rev` says; the placement only if it
    /// still fits, else the outcome is `Conflict` and nothing changes.
    Pin {
        /// What the user wants.
        spec: PinSpec,
        /// Who shall hold it (empty when everywhere), decided from `if_rev`.
        allocations: Vec<PeerId>,
        /// What the placement was decided from.
        if_rev: IfRev,
    },
    /// Remove a pin.
    Unpin {
        /// Which.
        cid: Cid,
    },
    /// Change who holds a pin: repair, drain, release.
    Place {
        /// Which.
        seq: Seq,
        /// What it was decided from.
        if_rev: Rev,
        /// Who shall hold it from now on.
        allocations: Vec<PeerId>,
        /// Peers that confirmed (by `holds`) that they have it: a release counts on these alone.
        confirmed: Vec<PeerId>,
    },
    /// Remove a pin whose time is over.
    Expire {
        /// Which.
        seq: Seq,
        /// What it was decided from.
        if_rev: Rev,
    },
    /// These tombstones are gone from this peer's IPFS node.
    Gone {
        /// Who says so.
        peer: PeerId,
        /// Which.
        seqs: Vec<Seq>,
    },
    /// Admit a peer or change what is said of it.
    AddMember {
        /// Who.
        peer: PeerId,
        /// Its present life.
        incarnation: Incarnation,
        /// Shown to users.
        name: String,
        /// `tag:` values and other labels.
        labels: BTreeMap<String, String>,
    },
    /// Take a peer out of the membership. It must hold no pin that would be lost.
    RemoveMember {
        /// Who.
        peer: PeerId,
        /// Also when copies are lacking (the peer is dead, or `drain=false`).
        force: bool,
    },
    /// Start or stop moving everything away from a peer.
    Drain {
        /// Who.
        peer: PeerId,
        /// Start or stop.
        on: bool,
    },
    /// The peer was found dead.
    Down {
        /// Who.
        peer: PeerId,
    },
    /// The peer is back.
    Up {
        /// Who.
        peer: PeerId,
    },
    /// Permit commands up to this version.
    FeatureLevel {
        /// The new level.
        level: u32,
    },
}

/// What became of a command. "No" is an outcome, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, as this rev.
    Applied {
        /// The command's number.
        rev: Rev,
    },
    /// A repeat of a command that was done before.
    AlreadyAt {
        /// The number it had then.
        rev: Rev,
    },
    /// The state has changed since the decision: decide again.
    Conflict {
        /// The pin's last change, if there is a live pin.
        current: Option<Rev>,
    },
    /// The command cannot be done.
    Rejected(Rejection),
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The CID is not pinned.
    #[error("pin is not part of the pinset")]
    NotPinned,
    /// An allocation names a peer that is no member.
    #[error("peer {0} is not a member of this cluster")]
    NotAMember(PeerId),
    /// Copies would fall below the minimum.
    #[error("only {have} of {min} copies would remain")]
    TooFewCopies {
        /// Confirmed copies that would remain.
        have: u32,
        /// The pin's minimum.
        min: u32,
    },
    /// The pin's expiry is still to come, or it has none.
    #[error("the pin has not expired")]
    NotExpired,
    /// From a former start of the origin.
    #[error("the request comes from an earlier start of its peer")]
    StaleBoot,
    /// The repeat window does not reach back that far.
    #[error("the request is older than its session's floor")]
    BelowFloor,
    /// A second `Init`.
    #[error("the cluster is formed already")]
    AlreadyFormed,
    /// A pin type that does not match what is pinned (API contract §3).
    #[error(
        "cannot repin CID with different tracking method, clear state with pin rm to proceed. New: {new}. Was: {was}"
    )]
    TypeMismatch {
        /// Asked for.
        new: String,
        /// In the state.
        was: String,
    },
    /// The state is full, or the command breaks a bound.
    #[error("{0}")]
    Limit(String),
}
