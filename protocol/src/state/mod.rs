//! The state machine: `apply(entry)` over a small store trait.

pub mod tx;
