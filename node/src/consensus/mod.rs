//! The cluster's log: what the members agree on, in which order.
//!
//! ```text
//!  propose ─▶ proposer ─▶ openraft ─▶ log_store ─▶ storage::RaftLog      (synced)
//!                            │  ▲
//!           transport ◀──────┘  └────── server      streams to and from the other members (links)
//!                            │
//!                            └▶ state_machine ─▶ protocol::state::apply ─▶ storage::StateStore
//!
//!  membership (plan)   the leader's duties: who has the log, who votes
//!  join                admission         roster       members and epoch for the rest of the peer
//!  profile             which timing suits
//!  compaction          the log's length  start, handle, stop  from two files to a running member
//!  doors               streams of other peers, whether or not the consensus runs
//! ```
//!
//! **Architecture invariant:** openraft's types stay in this folder; what it stores and sends goes
//! through our own structs (`wire`), so that its changes never change bytes.

mod compaction;
mod config;
mod core;
mod doors;
mod handle;
mod import;
mod join;
mod links;
mod log_marks;
mod log_store;
mod membership;
mod net_links;
mod plan;
mod profile;
mod proposer;
mod roster;
mod server;
mod session;
mod start;
mod state_machine;
mod status;
mod stop;
#[cfg(test)]
mod tests;
mod transport;
mod types;
mod wire;

pub use self::{
    compaction::LOG_BYTES_MIN,
    config::Profile,
    core::BarrierError,
    handle::{Consensus, ConsensusConfig},
    import::{Founders, Import, ImportError, Imported},
    join::JoinError,
    log_marks::LogMark,
    proposer::{Committed, ProposeError},
    session::{Sessions, Ticket},
    status::{RaftStatus, Role},
};
