//! Plays what was recorded of the Go IPFS Cluster 1.1.6 to a real cluster and compares the answers.
//!
//! `fixtures/recorded/` holds the exchanges, one file per set-up, in the order in which they were
//! made. Each group is played in that order to a fresh cluster: [`setups`] starts it and does what
//! was done by hand between two exchanges, [`player`] sends, [`compare`] judges, and
//! [`kubo`] stands in for the IPFS node where its own answers were recorded,
//! [`differences`] lists what differs on purpose and what is not compared, each with its reason.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod bodies;
mod compare;
mod described;
mod differences;
mod kubo;
mod names;
mod player;
mod recording;
mod setups;
mod tls;
mod tokens;
