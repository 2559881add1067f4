//! `addresses.json`: where a running peer can be reached, with the ports it really got.
//!
//! Written when the peer is ready and removed when it stops, so that whoever started it knows both.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_cluster_node::env::Disk;
use serde::{Deserialize, Serialize};

/// Bytes of the file that are read at most.
const BYTES: u64 = 1024 * 1024;

/// Where a peer can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Addresses {
    /// The process.
    pub(super) pid: u32,
    /// Its peer ID.
    pub(super) id: String,
    /// Its name.
    pub(super) peername: String,
    /// Of the REST API, multiaddrs.
    pub(super) rest: Vec<String>,
    /// Of the IPFS proxy, multiaddrs.
    pub(super) proxy: Vec<String>,
    /// Of the metrics, where they have listeners of their own, multiaddrs.
    #[serde(default)]
    pub(super) metrics: Vec<String>,
    /// Of the Pinning Service API, multiaddrs.
    #[serde(default)]
    pub(super) pinning: Vec<String>,
    /// Of an embedded IPFS node's gateway, multiaddrs.
    #[serde(default)]
    pub(super) gateway: Vec<String>,
    /// Of an embedded IPFS node's RPC, multiaddrs.
    #[serde(default)]
    pub(super) ipfs_rpc: Vec<String>,
    /// Of the swarm, with `/p2p/`.
    pub(super) swarm: Vec<String>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("addresses.json")
}

impl Addresses {
    /// Reads a folder's.
    pub(super) fn read(folder: &Path, disk: &dyn Disk) -> io::Result<Self> {
        let bytes = disk.read(&path(folder), BYTES)?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// Writes them; they are removed when the value returned is dropped.
    pub(super) fn publish(&self, folder: &Path, disk: &Arc<dyn Disk>) -> io::Result<Published> {
        let path = path(folder);
        let mut text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        text.push(b'\n');
        disk.write_atomic(&path, &text)?;
        Ok(Published {
            path,
            disk: disk.clone(),
        })
    }
}

/// Removes those that a killed process left.
pub(super) fn forget(folder: &Path, disk: &dyn Disk) {
    let path = path(folder);
    if disk.exists(&path)
        && let Err(e) = disk.remove_file(&path)
    {
        tracing::warn!(path = %path.display(), error = %e, "an old file cannot be removed");
    }
}

/// The file, as long as it is true.
pub(super) struct Published {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(e) = self.disk.remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), error = %e, "the file stays behind");
        }
    }
}
