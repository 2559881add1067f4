//! The state machine: [`apply()`] takes a log entry to outcomes, over a small store trait.
//!
//! ```text
//!  entry ─▶ apply ─┬─ sessions   is this a repeat?
//!                  ├─ members    who is in, who is leaving
//!                  ├─ pins       what is pinned where ── index: name, metadata, expiry
//!                  └─ system     rev, seq, time, epoch, feature level, rolling hash
//!                        │ rows (the stored shapes)
//!                        ▼
//!  query ◀──────── StateTx / StateRead: the state file, or the ordered maps of `model`
//! ```
//!
//! Nothing here reads a clock or metrics: what is uncertain was decided before the log, and `apply`
//! checks the decision again against the state it meets. The same entries give the same bytes at
//! every peer.

pub(crate) mod apply;
pub(crate) mod hash;
pub(crate) mod index;
pub(crate) mod invariants;
pub(crate) mod members;
pub(crate) mod model;
pub(crate) mod pins;
pub mod query;
pub(crate) mod requests;
pub mod restore;
pub(crate) mod rows;
pub(crate) mod sessions;
pub(crate) mod system;
pub mod tx;

pub use apply::{Applied, PinChange, apply};
pub use invariants::{Violation, check_invariants};
pub use members::Member;
pub use model::Model;
pub use system::System;
pub use tx::{PinSet, Row, StateRead, StateTx, StoreError, Table};

#[cfg(test)]
pub(crate) mod tests;
