//! Values for unit tests.

use ipfs_cluster_protocol::id::PeerId;

/// A peer that is another one for each number.
pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[&[0x12, 32], [n; 32].as_slice()].concat()).unwrap()
}
