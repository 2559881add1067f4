//! The status tables of all members at this peer: its own, and copies of the others'.
//!
//! [`StatusTables`] is the handle. The tracker writes the own table; [`start`] spreads it by gossip,
//! takes in the others' deltas and digests, pulls what was missed and answers who pulls
//! (ARCHITECTURE.md, "Status without fan-out"). Answers never ask another peer.

mod gossip;
mod pull;
mod schedule;
mod tables;

#[cfg(test)]
mod tests;

pub use gossip::{Timing, start};
pub use tables::{Lookup, StatusTables, TableInfo};
