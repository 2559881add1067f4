//! The receiving side: a fresh file beside the state's.

use std::{path::PathBuf, sync::Arc};

use ipfs_cluster_protocol::state::tx::StoreError;
use redb::{Database, Durability};
use serde_bytes::ByteBuf;
use tokio::sync::OwnedSemaphorePermit;

use super::{Chunk, Progress, all_tables, incoming, remove_leftovers};
use crate::storage::{
    backend::open_database,
    error::{ReadError, failed, guard},
    flush::write_position,
    row::unseal,
    state_store::{Shared, StateStore, db_file, open_positioned},
    tables::Position,
};

/// A snapshot being received. Dropped before its end, it leaves what it has for the next part of
/// the transfer.
pub(crate) struct SnapshotReceiver {
    shared: Arc<Shared>,
    /// Gone while a chunk is being written, after the last, and after one that was refused.
    file: Option<Incoming>,
    _permit: OwnedSemaphorePermit,
}

/// What has come so far.
pub(in crate::storage) struct Incoming {
    database: Database,
    path: PathBuf,
    position: Position,
    progress: Progress,
}

/// A whole state, checked, in a file of its own.
#[derive(Debug)]
pub(crate) struct Received {
    path: PathBuf,
    /// Where the state is.
    pub(crate) position: Position,
}

impl StateStore {
    /// Prepares to take another peer's state, which is at `position`: the rest of it when a part
    /// has come before.
    pub(crate) async fn receive(&self, position: Position) -> Result<SnapshotReceiver, ReadError> {
        let permit = self.shared.receiving.clone().try_acquire_owned();
        let permit = permit.map_err(|_| refused("another one is being received"))?;
        let kept = self.shared.incoming.lock().take();
        let shared = self.shared.clone();
        let file = self.shared.snapshot_lane.run(move || {
            if let Some(kept) = kept.filter(|kept| kept.position == position) {
                return Ok(kept);
            }
            let path = incoming(&shared.path);
            let open = || {
                remove_leftovers(&*shared.disk, &shared.path)?;
                open_database(&*shared.disk, &db_file(&path, &shared.tuning))
            };
            let database = open().map_err(|e| StoreError(e.to_string()))?;
            Ok::<_, StoreError>(Incoming {
                database,
                path,
                position,
                progress: Progress::start(),
            })
        });
        Ok(SnapshotReceiver {
            file: Some(file.await??),
            shared: self.shared.clone(),
            _permit: permit,
        })
    }
}

impl SnapshotReceiver {
    /// Where the sender shall go on.
    pub(crate) fn progress(&self) -> Progress {
        let file = self.file.as_ref();
        file.map_or_else(Progress::start, |file| file.progress.clone())
    }

    /// Takes the next chunk; the last one yields the whole. Anything unexpected is an error and
    /// ends the transfer for good.
    pub(crate) async fn feed(&mut self, chunk: Chunk) -> Result<Option<Received>, ReadError> {
        let Some(mut file) = self.file.take() else {
            return Err(StoreError("the snapshot is over or has failed".into()).into());
        };
        let path = self.shared.path.clone();
        let fed = self.shared.snapshot_lane.run(move || {
            guard(&path, || match chunk {
                Chunk::Head { .. } => Err(refused("a second head")),
                Chunk::Rows { table, rows, hash } => {
                    file.rows(table, &rows, &hash).map(|()| Ok(file))
                }
                Chunk::End { count, hash } => file.end(count, &hash).map(Err),
            })
        });
        match fed.await?? {
            Ok(file) => {
                self.file = Some(file);
                Ok(None)
            }
            Err(received) => Ok(Some(received)),
        }
    }
}

impl Drop for SnapshotReceiver {
    fn drop(&mut self) {
        if let Some(file) = self.file.take().filter(|_| !self.shared.is_closed()) {
            *self.shared.incoming.lock() = Some(file);
        }
    }
}

fn refused(what: &str) -> StoreError {
    StoreError(format!("the snapshot is refused: {what}"))
}

impl Incoming {
    fn rows(
        &mut self,
        table: u8,
        rows: &[(ByteBuf, ByteBuf)],
        hash: &[u8],
    ) -> Result<(), StoreError> {
        let Some((_, name)) = all_tables().find(|(i, _)| *i == table) else {
            return Err(refused("rows of a table this version does not know"));
        };
        let next = self.progress.past(table, rows);
        if next.hash != hash {
            return Err(refused("rows are missing or were changed on the way"));
        }
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
                stored
                    .insert(key.as_slice(), value.as_slice())
                    .map_err(failed(path))?;
            }
        }
        txn.commit().map_err(failed(path))?;
        self.progress = next;
        Ok(())
    }

    fn end(self, count: u64, hash: &[u8]) -> Result<Received, StoreError> {
        if count != self.progress.count || self.progress.hash != hash {
            return Err(refused("rows are missing or were changed on the way"));
        }
        let path = &self.path;
        let mut txn = self.database.begin_write().map_err(failed(path))?;
        txn.set_quick_repair(true);
        write_position(&txn, &self.position).map_err(failed(path))?;
        txn.commit().map_err(failed(path))?;
        Ok(Received {
            path: self.path,
            position: self.position,
        })
    }
}

impl Received {
    /// Puts the file in the place of the present one. In the write lane, so no flush runs.
    pub(in crate::storage) fn install(self, shared: &Shared) -> Result<Position, StoreError> {
        let io = |e: std::io::Error| StoreError(format!("{}: {e}", shared.path.display()));
        let mut overlay = shared.overlay.write();
        shared.disk.rename(&self.path, &shared.path).map_err(io)?;
        let dir = shared.path.parent().unwrap_or(std::path::Path::new("."));
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
