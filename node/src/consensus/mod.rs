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
//!  join, joining        admission, as the leader gives it and as the new member asks for it
//!  standing             whether it still holds
//!  roster              members and epoch for the rest of the peer
//!  profile             which timing suits
//!  compaction          the log's length  files, start, handle, stop  from two files to a running member
//!  doors               streams of other peers, whether or not the consensus runs
//!  agreement           whether the members' states are the same
//!  fence               a past that was left behind writes nothing
//!  offline, recover    a peer that does not run: its log, and a new beginning without a quorum
//! ```
//!
//! **Architecture invariant:** openraft's types stay in this folder; what it stores and sends goes
//! through our own structs (`wire`), so that its changes never change bytes.

mod agreement;
mod compaction;
mod config;
mod core;
mod doors;
mod fence;
mod files;
mod handle;
mod import;
mod join;
mod joining;
mod links;
mod log_marks;
mod log_store;
mod membership;
mod net_links;
mod offline;
mod plan;
mod profile;
mod proposer;
mod recover;
mod roster;
mod server;
mod session;
mod standing;
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
    agreement::Agreement,
    compaction::LOG_BYTES_MIN,
    config::Profile,
    core::BarrierError,
    fence::LeftBehind,
    handle::{Consensus, ConsensusConfig},
    import::{Founders, Import, ImportError, Imported},
    join::JoinError,
    log_marks::LogMark,
    offline::{Offline, Unsettled},
    proposer::{Committed, ProposeError},
    recover::{RecoverError, Recovery, Survey, Survivor},
    session::{Sessions, Ticket},
    status::{RaftStatus, Role},
};
