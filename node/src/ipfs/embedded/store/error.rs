//! What can go wrong with a block.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use ipfs_cluster_protocol::id::Cid;

use crate::env::LaneClosed;

/// Why a block could not be stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("{}: {text}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The disk's words.
        text: String,
    },
    /// The disk has no room, whatever the configured maximum says.
    #[error(
        "the disk of the IPFS store is full ({}: {text}): free some of it; until then this peer \
         takes no new pins",
        path.display()
    )]
    NoRoom {
        /// Which file.
        path: PathBuf,
        /// The disk's words.
        text: String,
    },
    /// The configured maximum is reached.
    #[error("the IPFS store is full: {used} bytes used of {max}, {incoming} more do not fit")]
    Full {
        /// Bytes held.
        used: u64,
        /// Bytes allowed.
        max: u64,
        /// Bytes that were to come.
        incoming: u64,
    },
    /// A file no longer holds its block. It was moved aside.
    #[error("block {cid} was corrupt on disk and was moved aside ({})", path.display())]
    Corrupt {
        /// The block.
        cid: Cid,
        /// Its file.
        path: PathBuf,
    },
    /// The node shuts down.
    #[error("the IPFS store is closed")]
    Closed,
}

impl From<LaneClosed> for StoreError {
    fn from(_: LaneClosed) -> Self {
        Self::Closed
    }
}

impl StoreError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        let (path, text) = (path.to_path_buf(), error.to_string());
        match error.kind() {
            // A limit of the process on the size of its files counts as a full disk.
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::NoRoom { path, text }
            }
            _ => Self::Io { path, text },
        }
    }
}
