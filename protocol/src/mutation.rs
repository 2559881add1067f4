//! Faults planted on purpose, so that the simulator can prove that it finds such faults.
//!
//! Without the feature `mutations`, which only the simulator asks for and no build that ships has,
//! [`planted`] is `false` at compile time and nothing is left of any of them.

/// A fault that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// A vote is remembered, and forgotten with the process.
    VoteNotSynced = 1,
    /// Entries count as written before they are on the disk.
    AppendAckedBeforeFsync,
    /// What was cut off the log is there again after a restart.
    TruncateNotWritten,
    /// A linearizable read asks nobody what is committed.
    StaleReadAsLinearizable,
    /// A linearizable read does not wait until this peer has applied what is committed.
    ReadDoesNotWait,
    /// A write of which nobody knows what became is told as refused.
    UnknownToldAsRefused,
    /// The state is served while it may still be older than before the last stop.
    StateBeforeRecovery,
    /// Entries are stamped by the clock of whoever applies them.
    ApplyByLocalClock,
    /// Log time follows the leader's clock backwards.
    LogTimeMayFall,
    /// A command that was decided from an older state is applied.
    ApplyWithoutIfRev,
    /// A repeated command is applied again.
    RepeatAppliedTwice,
    /// The sets that a pin leaves still name it.
    SetEditForgotten,
    /// The state sent to a peer claims the entry before its last.
    SnapshotOneShort,
    /// A peer that lost its log comes back under its old node ID.
    NodeIdReused,
    /// Pins expire by the leader's clock, however wrong.
    ExpiryByWrongClock,
    /// Repair goes on however many peers are down.
    RepairWithoutGuard,
    /// A peer is let go because the others seem well, without asking whether they hold the pin.
    ReleaseOnGossip,
    /// Some changes of a status table get lost, and digests are not compared.
    DeltaDroppedWithoutDigest,
    /// What the state does not know is unpinned.
    UnpinOnAbsence,
}

#[cfg(feature = "mutations")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutation;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Switches one fault on, in this process, for good.
    pub fn plant(mutation: Mutation) {
        PLANTED.store(mutation as u8, Ordering::Relaxed);
    }

    /// Whether this fault is switched on.
    #[must_use]
    pub fn planted(mutation: Mutation) -> bool {
        PLANTED.load(Ordering::Relaxed) == mutation as u8
    }
}

#[cfg(feature = "mutations")]
pub use switch::{plant, planted};

/// Whether this fault is switched on: never, in a build without the feature.
#[cfg(not(feature = "mutations"))]
#[must_use]
#[inline(always)]
pub const fn planted(_: Mutation) -> bool {
    false
}
