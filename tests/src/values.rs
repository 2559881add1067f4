//! Content that nothing else has.

use rand::RngCore;

/// So many random bytes.
#[must_use]
pub fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A CID of content that exists nowhere.
///
/// # Panics
/// Never: 32 bytes fit into a multihash.
#[must_use]
pub fn missing() -> String {
    let hash = cid::multihash::Multihash::wrap(0x12, &random(32)).expect("32 bytes fit");
    cid::Cid::new_v1(0x55, hash).to_string()
}
