//! Makes this peer's IPFS node hold what the state wants of it.
//!
//! ```text
//!  storage::Changes ─▶ walk: what does the state want? ─▶ status table: queued ─▶ queue
//!                                                                                  │
//!  status table ◀── phases ◀── work: reconcile::plan(desired, observed) ◀──────────┘
//!                               │ ledger: is the pin the cluster's?
//!                               ▼
//!                            IPFS node                 gone ─▶ Command::Gone
//!                                                     sizes ─▶ Command::Sized
//! ```
//!
//! It compares, so it needs no memory but the ledger: a restart of the peer or of the IPFS node at
//! any moment loses nothing. Only what the cluster ordered is ever unpinned.

mod gone;
mod handle;
mod held;
mod ledger;
mod main_loop;
#[cfg(feature = "mutations")]
mod planted;
mod queue;
mod settle;
mod sizes;
mod start;
#[cfg(test)]
mod tests;
mod tracking;
mod walk;
mod work;

pub use self::handle::Tracker;
pub(crate) use self::{
    gone::{GoneReport, report},
    handle::Inbox,
    sizes::{Counted, Sizes},
    start::{TrackerParts, TrackerSettings, run},
};
