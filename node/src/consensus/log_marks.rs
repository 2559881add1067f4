//! The log as others may compare it: which entries there are, not what they say.

use std::io;

use ipfs_cluster_protocol::{id::LogIndex, limits};
use sha2::{Digest as _, Sha256};

use super::handle::Consensus;

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogMark {
    /// Its place.
    pub index: LogIndex,
    /// The term of the leader that made it.
    pub term: u64,
    /// The first bytes of the SHA-256 of its kind and body.
    pub digest: [u8; 8],
}

impl Consensus {
    /// The entries from `from` on, as many as one append request may hold, as they are in this
    /// peer's log at this moment.
    pub async fn log_marks(&self, from: LogIndex) -> io::Result<Vec<LogMark>> {
        let max = limits::APPEND_BYTES_MAX;
        let records = self.0.log.read(from.0, u64::MAX, max).await?;
        let mark = |record: crate::storage::LogRecord| {
            let mut hash = Sha256::new_with_prefix([record.kind]);
            hash.update(&record.body);
            let mut digest = [0; 8];
            digest.copy_from_slice(&hash.finalize()[..8]);
            LogMark {
                index: LogIndex(record.index),
                term: record.term,
                digest,
            }
        };
        Ok(records.into_iter().map(mark).collect())
    }
}
