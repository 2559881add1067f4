//! Names of the stages of a write: those of `/metrics` (time) and of `ipfs-cluster-ctl bench`
//! (processor time) are the same.

/// The leader reads its state and chooses who gets the pin.
pub const DECIDE: &str = "decide";
/// The entry is given to the log.
pub const APPEND: &str = "append";
/// The log's file is synced.
pub const SYNC: &str = "sync";
/// Both, where one thread does them.
pub const APPEND_AND_SYNC: &str = "append, sync";
/// The entry changes the state.
pub const APPLY: &str = "apply";
/// What was applied goes to the state's file.
pub const STATE_FILE: &str = "state file";
