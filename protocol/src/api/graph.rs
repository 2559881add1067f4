//! Who is connected to whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient;
use crate::id::PeerId;

/// The answer to `GET /health/graph`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectGraph {
    /// The peer that answers.
    pub cluster_id: PeerId,
    /// Names.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub id_to_peername: BTreeMap<PeerId, String>,
    /// Links between IPFS nodes.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ipfs_links: BTreeMap<PeerId, Vec<PeerId>>,
    /// Links between peers; an unreachable peer has `[]`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub cluster_links: BTreeMap<PeerId, Vec<PeerId>>,
    /// Whether the peer may act on this one: all members may.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub cluster_trust_links: BTreeMap<PeerId, bool>,
    /// Each peer's IPFS node; a peer whose node is down is missing.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub cluster_to_ipfs: BTreeMap<PeerId, PeerId>,
}

impl ConnectGraph {
    /// What `peer` answers that knows of nobody.
    #[must_use]
    pub fn new(peer: PeerId) -> Self {
        Self {
            cluster_id: peer,
            id_to_peername: BTreeMap::new(),
            ipfs_links: BTreeMap::new(),
            cluster_links: BTreeMap::new(),
            cluster_trust_links: BTreeMap::new(),
            cluster_to_ipfs: BTreeMap::new(),
        }
    }
}
