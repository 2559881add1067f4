//! Key pairs of the swarm, for those who may not know libp2p's types.

use ipfs_cluster_protocol::id::PeerId;
use libp2p::identity::Keypair;

/// A new random Ed25519 key: its peer ID and its protobuf form.
#[must_use]
pub fn generate() -> (PeerId, Vec<u8>) {
    let key = Keypair::generate_ed25519();
    let bytes = key
        .to_protobuf_encoding()
        .expect("an Ed25519 key has a protobuf form");
    let peer = of(&key).expect("an Ed25519 key has a peer ID");
    (peer, bytes)
}

/// The peer ID of a private key in protobuf form (Ed25519 or RSA).
pub fn peer_id(private_key: &[u8]) -> Result<PeerId, String> {
    let key = Keypair::from_protobuf_encoding(private_key).map_err(|e| e.to_string())?;
    of(&key)
}

fn of(key: &Keypair) -> Result<PeerId, String> {
    PeerId::from_bytes(&key.public().to_peer_id().to_bytes()).map_err(|e| e.to_string())
}
