//! The log file: reading it when it is opened and later.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use ipfs_cluster_protocol::{codec, state::tx::StoreError};
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, TableError};

use crate::{env::Disk, stage::Stage};

use super::{LogRecord, LogRecovered, Slot, tail::Tail};
use crate::storage::{
    backend::{DbFile, open_database},
    error::{OpenError, damaged, failed, guard},
    row::unseal,
};

/// Index → sealed row: format, kind, term (big-endian), body.
pub(super) const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
/// Slot → sealed bytes.
pub(super) const SLOTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("slots");

/// Bytes before the body of a row.
const HEAD: usize = 10;

impl Slot {
    /// On disk: never changes.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Committed => "committed",
            Self::Purged => "purged",
            Self::Identity => "identity",
            Self::Boot => "boot",
            Self::HeardEpoch => "heard_epoch",
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct LogFile {
    /// Gone once it was closed.
    database: RwLock<Option<Database>>,
    pub(super) path: PathBuf,
    /// Entries below this index are purged; those from `cleaned` on may still have rows.
    pub(super) purged_below: AtomicU64,
    pub(super) cleaned: AtomicU64,
    /// Encoding and writing the rows of a commit.
    pub(super) appending: Stage,
    /// Making a commit durable.
    pub(super) syncing: Stage,
}

/// The row of an entry, not sealed yet.
pub(super) fn encode(record: &LogRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + record.body.len());
    out.push(codec::FORMAT);
    out.push(record.kind);
    out.extend_from_slice(&record.term.to_be_bytes());
    out.extend_from_slice(&record.body);
    out
}

fn decode(index: u64, stored: &[u8]) -> Result<LogRecord, String> {
    let row = unseal(&index.to_be_bytes(), stored)
        .ok_or_else(|| format!("the checksum of entry {index} is wrong"))?;
    let (head, body) = row
        .split_at_checked(HEAD)
        .ok_or_else(|| format!("entry {index} is cut short"))?;
    let [format, kind, term @ ..] = head else {
        return Err(format!("entry {index} is cut short"));
    };
    if *format > codec::FORMAT {
        return Err(format!(
            "entry {index} has format {format}, which only a newer version knows"
        ));
    }
    let term = <[u8; 8]>::try_from(term).map_err(|e| e.to_string())?;
    Ok(LogRecord {
        index,
        term: u64::from_be_bytes(term),
        kind: *kind,
        body: Bytes::copy_from_slice(body),
    })
}

impl LogFile {
    /// Opens the file and reads all of it once. Blocks.
    pub(super) fn open(
        disk: &dyn Disk,
        file: &DbFile,
    ) -> Result<(Self, Tail, LogRecovered), OpenError> {
        let database = open_database(disk, file)?;
        let path = file.path.clone();
        let (recovered, tail) = guard(&path, || {
            let txn = database.begin_read().map_err(failed(&path))?;
            let mut recovered = read_slots(&txn, &path)?;
            let purged = purged_index(recovered.purged.as_deref());
            let (tail, last) = read_entries(&txn, &path, purged)?;
            recovered.last = last;
            Ok((recovered, tail))
        })?;
        let first = tail.bounds().0;
        let log = Self {
            database: RwLock::new(Some(database)),
            path,
            purged_below: AtomicU64::new(first),
            cleaned: AtomicU64::new(0),
            appending: Stage::default(),
            syncing: Stage::default(),
        };
        Ok((log, tail, recovered))
    }

    /// The open file, for as long as the guard lives.
    pub(super) fn database(&self) -> Result<MappedRwLockReadGuard<'_, Database>, StoreError> {
        RwLockReadGuard::try_map(self.database.read(), Option::as_ref)
            .map_err(|_| StoreError("the log is closed".into()))
    }

    /// Closes the file; later calls fail. Blocks.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        let database = self.database.write().take();
        guard(&self.path, || {
            drop(database);
            Ok(())
        })
    }

    /// Whether purged rows wait to be removed.
    pub(super) fn has_garbage(&self) -> bool {
        self.cleaned.load(Ordering::Relaxed) < self.purged_below.load(Ordering::Relaxed)
    }

    /// See [`super::RaftLog::read`]. Blocks.
    pub(super) fn read(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, StoreError> {
        guard(&self.path, || {
            let txn = self.database()?.begin_read().map_err(failed(&self.path))?;
            let table = match txn.open_table(LOG) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(e) => return Err(failed(&self.path)(e)),
            };
            let mut out: Vec<LogRecord> = Vec::new();
            let mut bytes = 0;
            for row in table.range(from..to).map_err(failed(&self.path))? {
                let (index, stored) = row.map_err(failed(&self.path))?;
                let record =
                    decode(index.value(), stored.value()).map_err(|e| damaged(&self.path, e))?;
                bytes += record.body.len();
                if !out.is_empty() && bytes > bytes_max {
                    break;
                }
                out.push(record);
            }
            Ok(out)
        })
    }
}

/// A purged id starts with its index (see `consensus::log_store`).
fn purged_index(id: Option<&[u8]>) -> Option<u64> {
    let head = id?.get(..8)?;
    Some(u64::from_be_bytes(head.try_into().ok()?))
}

fn read_slots(txn: &ReadTransaction, path: &std::path::Path) -> Result<LogRecovered, StoreError> {
    let table = match txn.open_table(SLOTS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(LogRecovered::default()),
        Err(e) => return Err(failed(path)(e)),
    };
    let read = |slot: Slot| {
        let key = slot.key();
        let Some(stored) = table.get(key).map_err(failed(path))? else {
            return Ok(None);
        };
        let value = unseal(key.as_bytes(), stored.value())
            .ok_or_else(|| damaged(path, format!("the checksum of the {key} is wrong")))?;
        Ok::<_, StoreError>(Some(Bytes::copy_from_slice(value)))
    };
    Ok(LogRecovered {
        vote: read(Slot::Vote)?,
        committed: read(Slot::Committed)?,
        purged: read(Slot::Purged)?,
        identity: read(Slot::Identity)?,
        boot: read(Slot::Boot)?,
        heard_epoch: read(Slot::HeardEpoch)?,
        last: None,
    })
}

/// Checks every entry after `purged`: no flipped bit, no gap.
fn read_entries(
    txn: &ReadTransaction,
    path: &std::path::Path,
    purged: Option<u64>,
) -> Result<(Tail, Option<LogRecord>), StoreError> {
    let start = purged.map_or(0, |p| p + 1);
    let table = match txn.open_table(LOG) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => {
            return Ok((Tail::recovered(start, VecDeque::new(), 0), None));
        }
        Err(e) => return Err(failed(path)(e)),
    };
    let mut lengths = VecDeque::new();
    let mut first = start;
    let mut last: Option<LogRecord> = None;
    for row in table.range(start..).map_err(failed(path))? {
        let (index, stored) = row.map_err(failed(path))?;
        let record = decode(index.value(), stored.value()).map_err(|e| damaged(path, e))?;
        let expected = last.as_ref().map(|l| l.index + 1).or(purged.map(|p| p + 1));
        if expected.is_some_and(|e| e != record.index) {
            return Err(damaged(
                path,
                format!("entries before {} are missing", record.index),
            ));
        }
        if last.is_none() {
            first = record.index;
        }
        lengths.push_back(u32::try_from(record.body.len()).unwrap_or(u32::MAX));
        last = Some(record);
    }
    let term = last.as_ref().map_or(0, |l| l.term);
    Ok((Tail::recovered(first, lengths, term), last))
}
