//! What becomes of a command when it is applied.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Incarnation, MemberNo, PeerId, Rev};

/// What became of a command. "No" is an outcome, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The CID is not pinned.
    #[error("pin is not part of the pinset")]
    NotPinned,
    /// The command names a peer that is no member.
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
    /// The member cannot be removed yet.
    #[error("peer {peer} still holds {pins} pins: drain it first")]
    HoldsPins {
        /// Who.
        peer: PeerId,
        /// Pins allocated to it.
        pins: u64,
    },
    /// The last member cannot be removed.
    #[error("cannot remove ourselves from a 1-peer cluster")]
    LastMember,
    /// The admission belongs to an earlier life of the peer.
    #[error("peer {peer} was admitted again since, as incarnation {current}")]
    StaleIncarnation {
        /// Who.
        peer: PeerId,
        /// Its present life.
        current: Incarnation,
    },
    /// The pin's expiry is still to come, or it has none.
    #[error("the pin has not expired")]
    NotExpired,
    /// Pins without allocations of their own (everywhere, meta) cannot be placed.
    #[error("the pin has no allocations to change")]
    NotPlaceable,
    /// From a former start of the origin.
    #[error("the request comes from an earlier start of its peer")]
    StaleBoot,
    /// The repeat window does not reach back that far.
    #[error("the request is older than its session's floor")]
    BelowFloor,
    /// A second `Init`.
    #[error("the cluster is formed already")]
    AlreadyFormed,
    /// Anything before `Init`.
    #[error("the cluster is not formed yet")]
    NotFormed,
    /// The epoch is not higher than the present one.
    #[error("epoch {current} is not below the epoch asked for")]
    StaleEpoch {
        /// The present one.
        current: Epoch,
    },
    /// The feature level may not go down, and gates newer commands.
    #[error("feature level is {current}, not {wanted}")]
    FeatureLevel {
        /// The present one.
        current: u32,
        /// What the command needs or sets.
        wanted: u32,
    },
    /// The number does not belong to a removed member.
    #[error("member number {0} does not belong to a removed peer")]
    NotDeparted(MemberNo),
    /// A pin type that does not match what is pinned.
    #[error(
        "cannot repin CID with different tracking method, clear state with pin rm to proceed. New: {new}. Was: {was}"
    )]
    TypeMismatch {
        /// Asked for.
        new: String,
        /// In the state.
        was: String,
    },
    /// A recursive pin cannot become a direct one.
    #[error(
        "cannot repin a CID which is already pinned in recursive mode (new pin is pinned as direct). Unpin it first."
    )]
    RecursiveToDirect,
    /// The state is full, or the command breaks a bound.
    #[error("{0}")]
    Limit(String),
}
