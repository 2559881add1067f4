//! The state on its way to another peer: rows in order, in chunks, with a hash over all of them.
//!
//! The sender reads one transaction of its file from the first row to the last; the receiver writes
//! a fresh file beside its own, and only when the hash fits does that take the old one's place.
//!
//! Every chunk carries the hash of all up to it, so a receiver knows at once that it has the right
//! rows. When a transfer is cut, both sides keep what they have for a while: the sender its
//! transaction, the receiver its file. The next one goes on where the receiver says it stands, if it
//! is of the same transaction still, and begins anew if not.

mod receive;
mod send;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::{
    error::OpenError,
    tables::{Position, Rows, SETS, TABLES},
};
use crate::env::Disk;

pub(super) use self::{receive::Incoming, send::Parked};
pub(crate) use self::{receive::Received, send::SnapshotSource};

/// One message of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Chunk {
    /// First: where the state is.
    Head {
        /// Of the state that follows.
        position: Position,
    },
    /// Rows of one table in key order: ordinal of the table, keys and sealed values.
    Rows {
        /// Index into [`all_tables`].
        table: u8,
        /// Key and stored value.
        rows: Vec<(ByteBuf, ByteBuf)>,
        /// See [`Progress::hash`].
        hash: ByteBuf,
    },
    /// Last: how many rows came, and the hash over all of them.
    End {
        /// All rows.
        count: u64,
        /// See [`Progress::hash`].
        hash: ByteBuf,
    },
}

/// How far a transfer has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The table of the last chunk.
    table: u8,
    /// Its last row; none before the first.
    after: Option<ByteBuf>,
    /// Rows so far.
    count: u64,
    /// SHA-256 over the hash before the last chunk and, for each row of it, table, key and value
    /// with their lengths.
    hash: ByteBuf,
}

impl Progress {
    fn start() -> Self {
        Self {
            table: 0,
            after: None,
            count: 0,
            hash: ByteBuf::from(Sha256::digest([]).to_vec()),
        }
    }

    /// Whether anything was sent.
    pub(crate) fn is_start(&self) -> bool {
        self.count == 0
    }

    /// Past these rows.
    fn past(&self, table: u8, rows: &[(ByteBuf, ByteBuf)]) -> Self {
        let mut hash = Sha256::new();
        hash.update(&self.hash);
        for (key, value) in rows {
            hash.update([table]);
            hash.update((key.len() as u64).to_be_bytes());
            hash.update(key);
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(value);
        }
        Self {
            table,
            after: rows.last().map(|(key, _)| key.clone()),
            count: self.count + rows.len() as u64,
            hash: ByteBuf::from(hash.finalize().to_vec()),
        }
    }
}

/// Tables of the state and then the pin sets.
fn all_tables() -> impl Iterator<Item = (u8, Rows)> {
    TABLES
        .iter()
        .map(|(_, rows)| *rows)
        .chain([SETS])
        .zip(0u8..)
        .map(|(rows, i)| (i, rows))
}

/// Name of the file a snapshot is received into.
fn incoming(path: &Path) -> PathBuf {
    path.with_extension("redb.new")
}

/// Removes what an interrupted transfer left behind.
pub(super) fn remove_leftovers(disk: &dyn Disk, path: &Path) -> Result<(), OpenError> {
    let path = incoming(path);
    if disk.exists(&path) {
        disk.remove_file(&path).map_err(OpenError::io(&path))?;
    }
    Ok(())
}
