//! The state on its way to another peer: rows in order, in chunks, with a hash over all of them.
//!
//! The sender reads one transaction of its file from the first row to the last; the receiver writes
//! a fresh file beside its own, and only when the hash fits does that take the old one's place.

use ipfs_cluster_protocol::{
    limits,
    mutation::{Mutation, planted},
};
use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_cluster_protocol::state::tx::StoreError;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, TableError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use crate::env::{Disk, Lane};

use super::{
    backend::open_database,
    error::{OpenError, ReadError, damaged, failed, guard},
    flush::write_position,
    row::unseal,
    state_store::{Shared, StateStore, db_file, open_positioned},
    tables::{Position, Rows, SETS, TABLES},
};

/// Bytes of rows after which a chunk is full.
const CHUNK_BYTES: usize = 512 * 1024;

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
    },
    /// Last: how many rows came and the SHA-256 over their keys and values.
    End {
        /// All rows.
        count: u64,
        /// Over table, key and value of each, lengths included.
        hash: ByteBuf,
    },
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

fn digest(hash: &mut Sha256, table: u8, key: &[u8], value: &[u8]) {
    hash.update([table]);
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update((value.len() as u64).to_be_bytes());
    hash.update(value);
}

/// A state ready to be sent; nothing is read before the first chunk is asked for.
#[derive(Clone)]
pub(crate) struct SnapshotSource {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SnapshotSource")
    }
}

impl StateStore {
    /// A handle on the state in the file: what is sent is at least as new as [`Self::synced`].
    pub(crate) fn snapshot(&self) -> SnapshotSource {
        SnapshotSource {
            shared: self.shared.clone(),
        }
    }

    /// Takes the state of another store of this process.
    pub(crate) async fn copy(&self, source: SnapshotSource) -> Result<Received, ReadError> {
        let mut receiver = self.receive().await?;
        let mut reader = source.start().await?;
        while let Some(chunk) = reader.next().await? {
            if let Some(received) = receiver.feed(chunk).await? {
                return Ok(received);
            }
        }
        Err(refused("it has no end").into())
    }

    /// Prepares to take another peer's state.
    pub(crate) async fn receive(&self) -> Result<SnapshotReceiver, ReadError> {
        SnapshotReceiver::start(self.shared.clone()).await
    }
}

impl SnapshotSource {
    /// Whether it is the state of this store.
    pub(crate) fn is_of(&self, store: &StateStore) -> bool {
        Arc::ptr_eq(&self.shared, &store.shared)
    }

    /// Starts reading; waits while another snapshot is being sent.
    pub(crate) async fn start(self) -> Result<SnapshotReader, ReadError> {
        let permit = self.shared.snapshots.clone().acquire_owned().await;
        let permit = permit.map_err(|_| crate::env::LaneClosed)?;
        let shared = self.shared.clone();
        let (txn, position) = self
            .shared
            .snapshot_lane
            .run(move || {
                guard(&shared.path, || {
                    let database = shared.overlay.read().database()?.clone();
                    let txn = database.begin_read().map_err(failed(&shared.path))?;
                    let mut position = stored_position(&txn, &shared.path)?;
                    if planted(Mutation::SnapshotOneShort)
                        && let Some(log) = &mut position.log
                    {
                        log.index = log.index.saturating_sub(1);
                    }
                    Ok((txn, position))
                })
            })
            .await??;
        Ok(SnapshotReader {
            shared: self.shared,
            cursor: Some(Cursor {
                txn,
                hash: Sha256::new(),
                count: 0,
                table: 0,
                after: None,
            }),
            head: Some(position),
            _permit: permit,
        })
    }
}

/// The position in a transaction of the file.
fn stored_position(txn: &ReadTransaction, path: &Path) -> Result<Position, StoreError> {
    use super::tables::{FILE, POSITION_KEY};
    let table = match txn.open_table(FILE) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Position::default()),
        Err(e) => return Err(failed(path)(e)),
    };
    let Some(row) = table.get(POSITION_KEY).map_err(failed(path))? else {
        return Ok(Position::default());
    };
    let bytes = unseal(POSITION_KEY, row.value())
        .ok_or_else(|| damaged(path, "the position's checksum is wrong"))?;
    ipfs_cluster_protocol::codec::decode(bytes, limits::TABLES_POSITION_BYTES_MAX)
        .map_err(|e| damaged(path, e))
}

/// A snapshot being sent. Holds one read transaction of the file.
pub(crate) struct SnapshotReader {
    shared: Arc<Shared>,
    /// Gone while a chunk is being read, and after the last.
    cursor: Option<Cursor>,
    head: Option<Position>,
    _permit: OwnedSemaphorePermit,
}

struct Cursor {
    txn: ReadTransaction,
    hash: Sha256,
    count: u64,
    /// The table being read.
    table: u8,
    /// Its last row sent.
    after: Option<Vec<u8>>,
}

impl SnapshotReader {
    /// The next chunk, `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        if let Some(position) = self.head.take() {
            return Ok(Some(Chunk::Head { position }));
        }
        let Some(mut cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let shared = self.shared.clone();
        let (chunk, cursor) = self
            .shared
            .snapshot_lane
            .run(move || {
                guard(&shared.path, || {
                    let chunk = cursor.next(&shared.path)?;
                    Ok((chunk, cursor))
                })
            })
            .await??;
        if matches!(chunk, Chunk::Rows { .. }) {
            self.cursor = Some(cursor);
        }
        Ok(Some(chunk))
    }
}

impl Cursor {
    fn next(&mut self, path: &Path) -> Result<Chunk, StoreError> {
        for (table, name) in all_tables().skip(self.table.into()) {
            if table != self.table {
                (self.table, self.after) = (table, None);
            }
            let stored = match self.txn.open_table(name) {
                Ok(stored) => stored,
                Err(TableError::TableDoesNotExist(_)) => continue,
                Err(e) => return Err(failed(path)(e)),
            };
            let from = self
                .after
                .as_deref()
                .map_or(Bound::Unbounded, Bound::Excluded);
            let range = stored
                .range::<&[u8]>((from, Bound::Unbounded))
                .map_err(failed(path))?;
            let mut rows = Vec::new();
            let mut bytes = 0;
            for row in range {
                let (key, value) = row.map_err(failed(path))?;
                let (key, value) = (key.value(), value.value());
                if unseal(key, value).is_none() {
                    return Err(damaged(path, "a row's checksum is wrong"));
                }
                digest(&mut self.hash, table, key, value);
                self.count += 1;
                bytes += key.len() + value.len();
                rows.push((ByteBuf::from(key), ByteBuf::from(value)));
                if bytes >= CHUNK_BYTES {
                    break;
                }
            }
            if let Some((last, _)) = rows.last() {
                self.after = Some(last.to_vec());
                return Ok(Chunk::Rows { table, rows });
            }
        }
        Ok(Chunk::End {
            count: self.count,
            hash: ByteBuf::from(self.hash.clone().finalize().to_vec()),
        })
    }
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

/// A snapshot being received. Dropping it gives the transfer up.
pub(crate) struct SnapshotReceiver {
    shared: Arc<Shared>,
    lane: Lane,
    /// Gone while a chunk is being written.
    file: Option<Incoming>,
}

struct Incoming {
    database: Database,
    path: PathBuf,
    hash: Sha256,
    count: u64,
    position: Option<Position>,
}

/// A whole state, checked, in a file of its own.
#[derive(Debug)]
pub(crate) struct Received {
    path: PathBuf,
    /// Where the state is.
    pub(crate) position: Position,
}

impl SnapshotReceiver {
    async fn start(shared: Arc<Shared>) -> Result<Self, ReadError> {
        let lane = shared.snapshot_lane.clone();
        let inner = shared.clone();
        let file = lane
            .run(move || {
                let path = incoming(&inner.path);
                let open = || {
                    remove_leftovers(&*inner.disk, &inner.path)?;
                    open_database(&*inner.disk, &db_file(&path, &inner.tuning))
                };
                let database = open().map_err(|e| StoreError(e.to_string()))?;
                Ok::<_, StoreError>(Incoming {
                    database,
                    path,
                    hash: Sha256::new(),
                    count: 0,
                    position: None,
                })
            })
            .await??;
        Ok(Self {
            shared,
            lane,
            file: Some(file),
        })
    }

    /// Takes the next chunk; the last one yields the whole. Anything unexpected is an error and
    /// ends the transfer.
    pub(crate) async fn feed(&mut self, chunk: Chunk) -> Result<Option<Received>, ReadError> {
        let Some(mut file) = self.file.take() else {
            return Err(StoreError("the snapshot is over or has failed".into()).into());
        };
        let path = self.shared.path.clone();
        let fed = self
            .lane
            .run(move || {
                guard(&path, || match chunk {
                    Chunk::Head { position } => file.head(position).map(|()| Ok(file)),
                    Chunk::Rows { table, rows } => file.rows(table, &rows).map(|()| Ok(file)),
                    Chunk::End { count, hash } => file.end(count, &hash).map(Err),
                })
            })
            .await??;
        match fed {
            Ok(file) => {
                self.file = Some(file);
                Ok(None)
            }
            Err(received) => Ok(Some(received)),
        }
    }
}

fn refused(what: &str) -> StoreError {
    StoreError(format!("the snapshot is refused: {what}"))
}

impl Incoming {
    fn head(&mut self, position: Position) -> Result<(), StoreError> {
        if self.position.is_some() {
            return Err(refused("a second head"));
        }
        self.position = Some(position);
        Ok(())
    }

    fn rows(&mut self, table: u8, rows: &[(ByteBuf, ByteBuf)]) -> Result<(), StoreError> {
        if self.position.is_none() {
            return Err(refused("rows before the head"));
        }
        let Some((_, name)) = all_tables().find(|(i, _)| *i == table) else {
            return Err(refused("rows of a table this version does not know"));
        };
        let path = &self.path;
        let mut txn = self.database.begin_write().map_err(failed(path))?;
        // The last commit syncs them all.
        txn.set_durability(Durability::None)
            .map_err(|e| StoreError(e.to_string()))?;
        {
            let mut stored = txn.open_table(name).map_err(failed(path))?;
            for (key, value) in rows {
                if unseal(key, value).is_none() {
                    return Err(refused("a row's checksum is wrong"));
                }
                digest(&mut self.hash, table, key, value);
                self.count += 1;
                stored
                    .insert(key.as_slice(), value.as_slice())
                    .map_err(failed(path))?;
            }
        }
        txn.commit().map_err(failed(path))
    }

    fn end(self, count: u64, hash: &[u8]) -> Result<Received, StoreError> {
        let Some(position) = self.position else {
            return Err(refused("no head"));
        };
        if count != self.count || self.hash.finalize().as_slice() != hash {
            return Err(refused("rows are missing or were changed on the way"));
        }
        let path = &self.path;
        let mut txn = self.database.begin_write().map_err(failed(path))?;
        txn.set_quick_repair(true);
        write_position(&txn, &position).map_err(failed(path))?;
        txn.commit().map_err(failed(path))?;
        Ok(Received {
            path: self.path,
            position,
        })
    }
}

impl Received {
    /// Puts the file in the place of the present one. In the write lane, so no flush runs.
    pub(super) fn install(self, shared: &Shared) -> Result<Position, StoreError> {
        let io = |e: std::io::Error| StoreError(format!("{}: {e}", shared.path.display()));
        let mut overlay = shared.overlay.write();
        shared.disk.rename(&self.path, &shared.path).map_err(io)?;
        let dir = shared.path.parent().unwrap_or(Path::new("."));
        shared.disk.sync_dir(dir).map_err(io)?;
        let file = db_file(&shared.path, &shared.tuning);
        let (database, position) =
            open_positioned(&*shared.disk, &file).map_err(|e| StoreError(e.to_string()))?;
        overlay.database = Some(Arc::new(database));
        overlay.generation += 1;
        overlay.frozen = None;
        overlay.active = Default::default();
        overlay.position = position.clone();
        Ok(position)
    }
}
