//! What a peer keeps on disk for its consensus: the data folder, the log file and the state file.
//!
//! ```text
//!  <config>/state/meta.json   format, cluster, epoch, own incarnation     folder.rs
//!                 lock        held while the peer runs
//!                 raft.redb   log, vote, committed id: every commit synced  raft_log.rs
//!                 state.redb  the state; the file is the snapshot too       state_store.rs
//! ```
//!
//! Each file has lanes of its own (blocking work never runs on the async threads), and every row
//! carries a checksum, so a flipped bit is an error that names the file, never a wrong pin.
//!
//! **Architecture invariant:** redb's types are known here alone; openraft's are not known here.

mod backend;
mod changes;
mod error;
mod flush;
mod folder;
mod overlay;
mod raft_log;
mod reads;
mod row;
mod snapshot;
mod state_store;
mod tables;
#[cfg(test)]
mod tests;
mod view;

pub use changes::{Changed, Changes};
pub use error::{OpenError, ReadError, is_guarded};
pub use folder::{DataFolder, Identity};
pub(crate) use raft_log::{LogRecord, LogRecovered, RaftLog, Slot};
pub(crate) use snapshot::{Chunk, Progress, Received, SnapshotSource};
pub use state_store::{Applied, ApplyJob, LogPos, Position, StateStore, StateTuning};
