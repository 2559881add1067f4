//! `addresses.json`: where a running peer can be reached, with the ports it really got.
//!
//! Written when the peer is ready and removed when it stops, so that whoever started it knows both.

use std::{
    io,
    path::{Path, PathBuf},
};

use ipfs_cluster_node::env::Disk;
use serde::Deserialize;

/// Bytes of the file that are read at most.
const BYTES: u64 = 1024 * 1024;

/// Where a peer can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Addresses {
    /// Of the REST API, multiaddrs.
    pub(super) rest: Vec<String>,
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
}
