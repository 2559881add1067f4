//! The pure core of the cluster: types, log commands, the state machine, placement, reconcile and
//! repair plans, wire and API types, content formats.
//!
//! **Architecture invariant:** nothing here reads a clock, draws a random number, does IO, spawns a
//! task or writes a log line. Time and choices are arguments; effects are returned as data.

pub mod api;
pub mod blocks;
pub mod codec;
pub mod command;
pub mod command_line;
pub mod content;
pub mod export;
pub mod gossip;
pub mod health;
pub mod hello;
pub mod id;
pub mod join;
pub mod limits;
pub mod metrics;
pub(crate) mod mix;
pub mod mutation;
pub mod pin;
pub mod placement;
pub mod reconcile;
pub mod repair;
pub mod request;
pub mod rpc;
pub mod state;
pub mod status;
pub mod time;
pub mod witness;
