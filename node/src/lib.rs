//! A cluster peer as a library: `start(config, env)` and everything under it.
//!
//! `main.rs` builds the real [`env::Env`], the simulator a simulated one; nothing else in this crate
//! touches threads, files or sockets.

pub mod api;
pub mod cluster;
pub mod config;
pub mod consensus;
pub mod env;
pub mod informer;
pub mod ipfs;
pub mod monitor;
pub mod net;
pub mod node;
pub mod repair;
pub mod spans;
pub mod stage;
pub mod status;
pub mod storage;
#[cfg(test)]
mod testing;
pub mod tracker;
pub mod worker;
