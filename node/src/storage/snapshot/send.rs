//! The sending side: one moment of the state file, read row by row.

use std::{ops::Bound, path::Path, sync::Arc, time::Duration};

use ipfs_cluster_protocol::{
    codec, limits,
    mutation::{Mutation, planted},
    state::tx::StoreError,
};
use redb::{ReadTransaction, ReadableDatabase, TableError};
use serde_bytes::ByteBuf;
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};

use super::{Chunk, Progress, Received, all_tables};
use crate::storage::{
    error::{ReadError, damaged, failed, guard},
    row::unseal,
    state_store::{Shared, StateStore},
    tables::{FILE, LogPos, POSITION_KEY, Position},
};

/// How long the state of a transfer that was cut is kept for its next part, since the last chunk of
/// it. Its pages are not used again meanwhile, and the log behind it stays.
const PARK_MAX: Duration = Duration::from_secs(60);

/// One moment of the state file.
#[derive(Clone)]
struct Moment {
    txn: Arc<ReadTransaction>,
    position: Position,
}

/// A moment that waits for the next part of its transfer.
pub(in crate::storage) struct Parked {
    moment: Moment,
    until: Instant,
}

/// A state ready to be sent; nothing is read before the first chunk is asked for.
#[derive(Clone)]
pub(crate) struct SnapshotSource {
    shared: Arc<Shared>,
    /// What was announced: nothing older may be sent.
    at_least: Option<LogPos>,
}

impl std::fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SnapshotSource")
    }
}

impl StateStore {
    /// A handle on the state in the file, and where that is at least. While a transfer that was cut
    /// may go on, it is the state of that one.
    pub(crate) fn snapshot(&self) -> (Position, SnapshotSource) {
        let parked = self.shared.parked.lock();
        let position = parked.as_ref().map(|p| p.moment.position.clone());
        drop(parked);
        let position = position.unwrap_or_else(|| self.synced());
        let source = self.snapshot_at(&position);
        (position, source)
    }

    /// A handle on the state in the file, which holds this position.
    pub(crate) fn snapshot_at(&self, position: &Position) -> SnapshotSource {
        SnapshotSource {
            shared: self.shared.clone(),
            at_least: position.log,
        }
    }

    /// Takes the state of another store of this process.
    pub(crate) async fn copy(&self, source: SnapshotSource) -> Result<Received, ReadError> {
        let mut reader = source.start().await?;
        let mut receiver = self.receive(reader.position()).await?;
        reader.skip_to(receiver.progress());
        while let Some(chunk) = reader.next().await? {
            if let Some(received) = receiver.feed(chunk).await? {
                return Ok(received);
            }
        }
        Err(StoreError("the snapshot is refused: it has no end".into()).into())
    }
}

impl SnapshotSource {
    /// Whether it is the state of this store.
    pub(crate) fn is_of(&self, store: &StateStore) -> bool {
        Arc::ptr_eq(&self.shared, &store.shared)
    }

    /// Starts reading; waits while another snapshot is being sent. Goes on with what was being sent
    /// when a transfer was cut.
    pub(crate) async fn start(self) -> Result<SnapshotReader, ReadError> {
        let permit = self.shared.snapshots.clone().acquire_owned().await;
        let permit = permit.map_err(|_| crate::env::LaneClosed)?;
        let fits = |p: &mut Parked| p.moment.position.log >= self.at_least;
        let parked = self.shared.parked.lock().take_if(fits);
        let (moment, until) = match parked {
            Some(parked) => (parked.moment, Some(parked.until)),
            None => (self.now().await?, None),
        };
        Ok(SnapshotReader {
            cursor: Some(Progress::start()),
            until,
            over: false,
            shared: self.shared,
            moment,
            _permit: permit,
        })
    }

    async fn now(&self) -> Result<Moment, ReadError> {
        let shared = self.shared.clone();
        let found = self.shared.snapshot_lane.run(move || {
            guard(&shared.path, || {
                let database = shared.overlay.read().database()?.clone();
                let txn = database.begin_read().map_err(failed(&shared.path))?;
                let mut position = stored_position(&txn, &shared.path)?;
                if planted(Mutation::SnapshotOneShort)
                    && let Some(log) = &mut position.log
                {
                    log.index = log.index.saturating_sub(1);
                }
                let txn = Arc::new(txn);
                Ok(Moment { txn, position })
            })
        });
        Ok(found.await??)
    }
}

/// The position in a transaction of the file.
fn stored_position(txn: &ReadTransaction, path: &Path) -> Result<Position, StoreError> {
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
    codec::decode(bytes, limits::TABLES_POSITION_BYTES_MAX).map_err(|e| damaged(path, e))
}

/// A snapshot being sent. Holds one read transaction of the file; dropped before its end, it leaves
/// that behind for the next part of the transfer.
pub(crate) struct SnapshotReader {
    shared: Arc<Shared>,
    moment: Moment,
    /// Gone while a chunk is being read, and after the last.
    cursor: Option<Progress>,
    /// How long it is kept if it is cut; none before a chunk was read.
    until: Option<Instant>,
    /// The last chunk was read.
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl SnapshotReader {
    /// Where the state is that is sent.
    pub(crate) fn position(&self) -> Position {
        self.moment.position.clone()
    }

    /// Goes on from where the receiver stands.
    pub(crate) fn skip_to(&mut self, progress: Progress) {
        self.cursor = Some(progress);
    }

    /// The next chunk after the head, `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let (shared, moment) = (self.shared.clone(), self.moment.clone());
        let read = self
            .shared
            .snapshot_lane
            .run(move || guard(&shared.path, || read(&shared, &moment.txn, cursor)));
        let (chunk, cursor) = read.await??;
        self.over = cursor.is_none();
        self.until = Some(Instant::now() + PARK_MAX);
        self.cursor = cursor;
        Ok(Some(chunk))
    }
}

impl Drop for SnapshotReader {
    fn drop(&mut self) {
        let until = self.until.filter(|until| *until > Instant::now());
        let Some(until) = until.filter(|_| !self.over && !self.shared.is_closed()) else {
            return;
        };
        // Outside a runtime nobody could end its time.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let moment = self.moment.clone();
        *self.shared.parked.lock() = Some(Parked { moment, until });
        let shared = Arc::downgrade(&self.shared);
        runtime.spawn(async move {
            sleep_until(until).await;
            if let Some(shared) = shared.upgrade() {
                // One that was parked later has a later time.
                shared.parked.lock().take_if(|p| p.until <= until);
            }
        });
    }
}

/// The chunk after `cursor`, and where the transfer stands then.
fn read(
    shared: &Shared,
    txn: &ReadTransaction,
    cursor: Progress,
) -> Result<(Chunk, Option<Progress>), StoreError> {
    let path = &shared.path;
    for (table, name) in all_tables().skip(cursor.table.into()) {
        let after = cursor.after.as_ref().filter(|_| table == cursor.table);
        let stored = match txn.open_table(name) {
            Ok(stored) => stored,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(e) => return Err(failed(path)(e)),
        };
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
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
            bytes += key.len() + value.len();
            rows.push((ByteBuf::from(key), ByteBuf::from(value)));
            if bytes >= shared.tuning.chunk_bytes {
                break;
            }
        }
        if !rows.is_empty() {
            let next = cursor.past(table, &rows);
            let hash = next.hash.clone();
            return Ok((Chunk::Rows { table, rows, hash }, Some(next)));
        }
    }
    let (count, hash) = (cursor.count, cursor.hash);
    Ok((Chunk::End { count, hash }, None))
}
