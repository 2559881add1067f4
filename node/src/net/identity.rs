//! The key pair of a peer, and the two forms of its peer ID.

use std::fmt;

use ipfs_cluster_protocol::id::PeerId;
use libp2p::identity::Keypair;

/// A private key in libp2p's protobuf form, as `identity.json` holds it in base64. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes as they are; [`Identity::from_secret`] checks them.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be written where the key is kept and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// The bytes are not a private key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not a private key in libp2p's form: {why}")]
pub struct IdentityError {
    /// Why, without the key.
    pub why: String,
}

/// A key pair.
#[derive(Clone)]
pub struct Identity(Keypair);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.peer_id()).finish()
    }
}

impl Identity {
    /// Draws a new Ed25519 key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// Reads libp2p's protobuf form (Ed25519 or RSA).
    pub fn from_secret(secret: &SecretBytes) -> Result<Self, IdentityError> {
        Keypair::from_protobuf_encoding(secret.expose())
            .map(Self)
            .map_err(|e| IdentityError { why: e.to_string() })
    }

    /// Writes libp2p's protobuf form.
    pub fn to_secret(&self) -> Result<SecretBytes, IdentityError> {
        self.0
            .to_protobuf_encoding()
            .map(SecretBytes)
            .map_err(|e| IdentityError { why: e.to_string() })
    }

    /// The peer ID of this key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        from_libp2p(&self.0.public().to_peer_id()).expect("made from a key, not from the network")
    }

    pub(super) fn keypair(&self) -> &Keypair {
        &self.0
    }
}

/// None for the odd hash lengths that libp2p lets pass in messages; no key has such an ID.
pub(super) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_bytes(&peer.to_bytes()).ok()
}

pub(super) fn to_libp2p(peer: &PeerId) -> libp2p::PeerId {
    libp2p::PeerId::from_bytes(peer.as_bytes()).expect("a PeerId was checked when it was made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_written_form() {
        let identity = Identity::generate();
        let again = Identity::from_secret(&identity.to_secret().unwrap()).unwrap();
        assert_eq!(again.peer_id(), identity.peer_id());
        assert_eq!(
            from_libp2p(&to_libp2p(&identity.peer_id())),
            Some(identity.peer_id())
        );
    }

    #[test]
    fn garbage_is_refused_and_nothing_prints_the_key() {
        assert!(Identity::from_secret(&SecretBytes::new(vec![1, 2, 3])).is_err());
        assert_eq!(
            format!("{:?}", SecretBytes::new(vec![77])),
            "SecretBytes(…)"
        );
    }
}
