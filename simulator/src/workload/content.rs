//! What is pinned: small files, each known by a number.

use ipfs_cluster_protocol::id::Cid;
use sha2::{Digest as _, Sha256};

/// One in so many is large: it takes several messages, and a moment on a slow link.
const LARGE_EVERY: u64 = 8;
const LARGE_BYTES: usize = 48 * 1024;
const SMALL_BYTES: usize = 200;

/// The bytes of this number.
#[must_use]
pub fn bytes(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(LARGE_EVERY) {
        LARGE_BYTES
    } else {
        SMALL_BYTES
    };
    let mut bytes = number.to_be_bytes().repeat(len / 8);
    bytes.truncate(len);
    bytes
}

/// Its name: that of one raw block.
#[must_use]
pub fn cid(number: u64) -> Option<Cid> {
    let digest = Sha256::digest(bytes(number));
    let mut name = vec![0x01, 0x55, 0x12, 0x20];
    name.extend_from_slice(&digest);
    Cid::from_bytes(&name).ok()
}
