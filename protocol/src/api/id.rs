//! Who a peer is.

use serde::{Deserialize, Serialize};

use crate::id::PeerId;

/// The version of the API that this one is compatible with.
pub const API_VERSION: &str = "1.1.6";
/// What clients of the API expect as the peers' protocol.
pub const RPC_PROTOCOL_VERSION: &str = "/ipfscluster/1.0/rpc";

/// A peer, and the IPFS node beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id {
    /// Its peer ID.
    pub id: PeerId,
    /// Its own multiaddrs, with `/p2p/`; `null` when it could not be asked.
    pub addresses: Option<Vec<String>>,
    /// All members, itself included, sorted; `null` when it could not be asked.
    pub cluster_peers: Option<Vec<PeerId>>,
    /// Known multiaddrs of the others.
    pub cluster_peers_addresses: Option<Vec<String>>,
    /// Of the API.
    pub version: String,
    /// Empty.
    #[serde(default)]
    pub commit: String,
    /// [`RPC_PROTOCOL_VERSION`].
    #[serde(default)]
    pub rpc_protocol_version: String,
    /// Why this peer could not be asked, empty if it could.
    #[serde(default)]
    pub error: String,
    /// The IPFS node beside it.
    #[serde(default)]
    pub ipfs: IpfsId,
    /// Its name.
    #[serde(default)]
    pub peername: String,
    /// Pins that have still to be safe elsewhere before this peer leaves; left out unless it is
    /// being drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<u64>,
}

impl Id {
    /// A peer that could not be asked.
    #[must_use]
    pub fn unreachable(id: PeerId, error: String) -> Self {
        Self {
            id,
            addresses: None,
            cluster_peers: None,
            cluster_peers_addresses: None,
            version: String::new(),
            commit: String::new(),
            rpc_protocol_version: String::new(),
            error,
            ipfs: IpfsId::default(),
            peername: String::new(),
            draining: None,
        }
    }
}

/// An IPFS node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpfsId {
    /// Its peer ID; left out when it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PeerId>,
    /// Its multiaddrs; `null` when it is down.
    #[serde(default)]
    pub addresses: Option<Vec<String>>,
    /// Why it could not be asked, empty if it could.
    #[serde(default)]
    pub error: String,
}

/// The answer to `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Of the API.
    pub version: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            version: API_VERSION.to_owned(),
        }
    }
}

/// The body of `POST /peers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAdd {
    /// Who shall be added.
    pub peer_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_peer_prints_as_recorded() {
        let peer = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";
        let id = Id::unreachable(peer.parse().unwrap(), "failed to dial".to_owned());
        assert_eq!(
            serde_json::to_string(&id).unwrap(),
            format!(
                r#"{{"id":"{peer}","addresses":null,"cluster_peers":null,"cluster_peers_addresses":null,"version":"","commit":"","rpc_protocol_version":"","error":"failed to dial","ipfs":{{"addresses":null,"error":""}},"peername":""}}"#
            )
        );
    }
}
