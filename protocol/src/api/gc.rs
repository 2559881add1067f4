//! The answer to a garbage collection of all peers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient;
use crate::id::{Cid, PeerId};

/// What each peer's IPFS node removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoGc {
    /// By peer.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub peer_map: BTreeMap<PeerId, RepoGcPeer>,
}

/// What one peer's IPFS node removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoGcPeer {
    /// Whose.
    pub peer: PeerId,
    /// Its name.
    #[serde(default)]
    pub peername: String,
    /// What was removed, `[]` when nothing was.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub keys: Vec<RepoGcKey>,
    /// Why the peer could not; left out when it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// One removed block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoGcKey {
    /// Which.
    #[serde(default, deserialize_with = "lenient::cid")]
    pub key: Option<Cid>,
    /// Why it could not be removed; left out when it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}
