//! Key pairs of the swarm, for those who keep them as bytes.

use ipfs_cluster_protocol::id::PeerId;

use super::identity::{Identity, SecretBytes};

/// A new random Ed25519 key: its peer ID and its protobuf form.
#[must_use]
pub fn generate() -> (PeerId, Vec<u8>) {
    let identity = Identity::generate();
    let secret = identity
        .to_secret()
        .expect("an Ed25519 key has a protobuf form");
    (identity.peer_id(), secret.expose().to_vec())
}

/// The peer ID of a private key in protobuf form (Ed25519 or RSA).
pub fn peer_id(private_key: &[u8]) -> Result<PeerId, String> {
    Identity::from_secret(&SecretBytes::new(private_key.to_vec()))
        .map(|identity| identity.peer_id())
        .map_err(|e| e.to_string())
}
