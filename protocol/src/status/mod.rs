//! Who has come how far with which pin: one table per peer, owned by that peer, copied by all.
//!
//! ```text
//!  owner: OwnTable ── seal ──▶ Delta(from → to) ──gossip──▶ PeerTable (every other peer)
//!             │                Digest(version, root) ──────▶    │ lacks `from`, or root differs
//!             └◀────────────── PullRequest ─────────────────────┘
//!                              PullResponse (ranges with their whole content)
//! ```
//!
//! * A table is named by (peer, incarnation, boot); a higher (incarnation, boot) replaces it. Its
//!   version 0 is the empty table, so "pull everything" is "pull what changed since 0".
//! * A delta and a pulled range carry *values*, not differences: what a copy holds is at least as
//!   new as its version says, and applying any later delta on top is right.
//! * `as_of` is the rev up to which the owner's reconcile has seen the state. A version carries only
//!   an `as_of` whose every change is in it: [`OwnTable::seal`] holds it back until nothing waits.
//! * Content is kept per block of 65 536 seqs: bitmaps per phase, and for the few pins that have
//!   something to tell, a [`Detail`]. Each block has a hash; the root is a hash over those.

mod block;
mod content;
mod message;
mod own;
mod peer;
mod pull;
mod runs;

#[cfg(test)]
mod tests;

pub use block::Detail;
pub use content::{Content, PhaseCounts, PhaseSet};
pub use message::{
    BlockHash, Change, Delta, Digest, PullRequest, PullResponse, Range, TableId, Want,
};
pub use own::OwnTable;
pub use peer::{Applied, PeerTable};
pub use pull::{PageError, Progress};
