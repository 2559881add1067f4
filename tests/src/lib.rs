//! The harness of the black-box tests, and the house rules.
//!
//! [`Cluster`] runs real peers as processes on loopback, in folders of their own, on ports that the
//! kernel gives. Between peers stand [`Relay`]s, which can stop, cut, delay or throttle what passes.
//! Nothing waits for time to pass: [`until`] waits for a condition and names it when it fails.
//!
//! Ends only processes that it started, by their handles, and all of them when it is dropped.

pub mod binary;
pub mod blocks;
pub mod by_hand;
pub mod cluster;
pub mod collector;
pub mod content_kill;
pub mod dev;
pub mod foreign;
pub mod foreign_pins;
pub mod fuzz;
pub mod hostile;
pub mod http;
pub mod leader_kill;
mod owner;
pub mod peer;
pub mod relay;
pub mod server;
pub mod tidy;
pub mod values;
pub mod wait;

pub use cluster::{Cluster, Setup, until_status};
pub use dev::{Dev, DevPeer};
pub use http::Answer;
pub use peer::Peer;
pub use relay::{Relay, Sky, Weather};
pub use values::{missing, random};
pub use wait::{throughout, until};
