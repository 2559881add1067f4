//! The shipping peer, many of them in one process, on virtual time: reproducible from a seed.
//!
//! ```text
//! commands ─ scenario ─ simulation ─ host ─ (ipfs_cluster_node above its doors)
//!                          │          ├ disk, lanes
//!                          world ─────┴ network
//!                          interpose: libc's clocks and entropy
//! ```
//!
//! **Architecture invariant:** `unsafe` stands in `interpose.rs` alone, libp2p in `network/` alone;
//! no code of the peer knows that it is being simulated.

pub mod commands;
pub mod disk;
pub mod faults;
pub mod history;
pub mod host;
pub mod interpose;
pub mod invariants;
pub mod ipfs;
pub mod lanes;
pub mod mutate;
pub mod network;
pub mod observe;
pub mod oracle;
pub mod panics;
pub mod peer;
pub mod process;
pub mod pure;
pub mod report;
pub mod run;
pub mod scenario;
pub mod simulation;
pub mod span;
pub mod what_if;
pub mod workload;
pub mod world;
