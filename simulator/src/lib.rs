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

pub mod disk;
pub mod host;
pub mod interpose;
pub mod lanes;
pub mod network;
pub mod simulation;
pub mod world;
