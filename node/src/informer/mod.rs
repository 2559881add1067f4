//! What this peer tells all members of itself: that it lives, how full its IPFS node is, how much
//! waits, its tags. And, from what they tell: connecting the IPFS nodes with each other.

mod publish;
mod sample;
mod swarm;

#[cfg(test)]
mod tests;

pub use publish::{Informer, start};
pub use sample::{Settings, Sizes, sizes};
