//! The state of this peer: `state.redb` under the overlay, read by everyone, changed by the log.

use std::{path::PathBuf, sync::Arc, time::Instant};

use ipfs_cluster_protocol::{
    codec,
    id::{LogIndex, Rev},
    limits,
    state::tx::{StateRead, StateTx, StoreError},
    time::Timestamp,
};
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadableDatabase, TableError};
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    env::{Disk, Env, Lane},
    stage::{Spent, Stage},
};

pub use super::tables::{LogPos, Position};
use super::{
    backend::{DbFile, open_database},
    changes::Changes,
    error::{OpenError, ReadError, failed, guard},
    flush,
    overlay::Overlay,
    reads::Reads,
    row::unseal,
    snapshot,
    tables::{FILE, POSITION_KEY},
    view::{Base, Tx},
};

/// How far this peer has applied the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last log entry applied.
    pub index: LogIndex,
    /// The last command applied.
    pub rev: Rev,
    /// The log's time.
    pub at: Timestamp,
}

impl From<&Position> for Applied {
    fn from(p: &Position) -> Self {
        Self {
            index: LogIndex(p.log.map_or(0, |l| l.index)),
            rev: p.rev,
            at: p.at,
        }
    }
}

/// Sizes that tests make small.
#[derive(Debug, Clone)]
pub struct StateTuning {
    /// Memory for pages of the file.
    pub cache_bytes: usize,
    /// Applying waits while the overlay takes more.
    pub overlay_bytes_max: usize,
    /// A layer of this size is written to the file at once.
    pub flush_bytes: usize,
    /// A synced commit follows this many bytes of unsynced ones.
    pub sync_bytes: usize,
    /// Files up to this length are verified as a whole when opened.
    pub verify_bytes_max: u64,
    /// Bytes of rows after which a chunk of a snapshot is full.
    pub chunk_bytes: usize,
}

impl Default for StateTuning {
    fn default() -> Self {
        Self {
            cache_bytes: 128 << 20,
            overlay_bytes_max: limits::OVERLAY_BYTES_MAX,
            flush_bytes: limits::OVERLAY_BYTES_MAX / 4,
            sync_bytes: 64 << 20,
            verify_bytes_max: 16 << 20,
            chunk_bytes: 512 << 10,
        }
    }
}

/// What the flusher tells those who apply.
#[derive(Debug, Clone, Default)]
pub(super) struct Backlog {
    /// Bytes in the overlay.
    pub(super) bytes: usize,
    /// The file cannot be written any more.
    pub(super) failed: Option<StoreError>,
}

/// What readers, the state machine and the flusher have in common.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) tuning: StateTuning,
    pub(super) overlay: RwLock<Overlay>,
    /// Writes of the file.
    pub(super) write_lane: Lane,
    /// The state machine.
    apply_lane: Lane,
    /// Readers: a long list must not hold up applying, nor a large flush the readers.
    reads: Reads,
    /// Snapshot chunks.
    pub(super) snapshot_lane: Lane,
    changes: Changes,
    applied: watch::Sender<Applied>,
    /// What the last synced commit holds.
    pub(super) synced: watch::Sender<Position>,
    pub(super) backlog: watch::Sender<Backlog>,
    /// Wakes the flusher.
    pub(super) changed: Notify,
    /// Applying what was committed.
    applying: Stage,
    /// One snapshot at a time: its read transaction keeps old pages alive.
    pub(super) snapshots: Arc<Semaphore>,
    /// What was being sent when a transfer was cut.
    pub(super) parked: Mutex<Option<snapshot::Parked>>,
    /// One snapshot is received at a time: they share a file name.
    pub(super) receiving: Arc<Semaphore>,
    /// What was received when a transfer was cut.
    pub(super) incoming: Mutex<Option<snapshot::Incoming>>,
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.overlay.read().database.is_none()
    }

    pub(super) fn publish_backlog(&self, failed: Option<StoreError>) {
        let bytes = self.overlay.read().bytes();
        self.backlog.send_modify(|b| {
            b.bytes = bytes;
            if failed.is_some() {
                b.failed = failed;
            }
        });
    }

    fn publish_applied(&self, position: &Position) {
        let applied = Applied::from(position);
        self.applied.send_if_modified(|old| {
            let changed = *old != applied;
            *old = applied;
            changed
        });
    }
}

/// The state of this peer. Cheap to clone.
#[derive(Clone)]
pub struct StateStore {
    pub(super) shared: Arc<Shared>,
    _flusher: Arc<flush::Flusher>,
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateStore")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl StateStore {
    /// Opens the state file, making an empty one when it is missing.
    pub async fn open(env: &Env, path: PathBuf, tuning: StateTuning) -> Result<Self, OpenError> {
        let write_lane = env.lanes.lane("state-write");
        let (disk, file) = (env.disk.clone(), db_file(&path, &tuning));
        let (database, position) = write_lane
            .run(move || {
                snapshot::remove_leftovers(&*disk, &file.path)?;
                open_positioned(&*disk, &file)
            })
            .await??;
        let shared = Arc::new(Shared {
            path,
            disk: env.disk.clone(),
            tuning,
            write_lane,
            apply_lane: env.lanes.lane("state-apply"),
            reads: Reads::new(env.lanes.lane("state-read")),
            snapshot_lane: env.lanes.lane("state-snapshot"),
            changes: Changes::new(position.rev),
            applied: watch::Sender::new(Applied::from(&position)),
            synced: watch::Sender::new(position.clone()),
            overlay: RwLock::new(Overlay::new(Arc::new(database), position)),
            backlog: watch::Sender::default(),
            changed: Notify::new(),
            applying: Stage::default(),
            snapshots: Arc::new(Semaphore::new(1)),
            parked: Mutex::default(),
            receiving: Arc::new(Semaphore::new(1)),
            incoming: Mutex::default(),
        });
        Ok(Self {
            _flusher: Arc::new(flush::Flusher::start(shared.clone())),
            shared,
        })
    }

    /// Reads a consistent state, what was just applied included. The closure runs on a thread for
    /// blocking work and is refused rows after 10 s: lists go page by page.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn StateRead) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.shared.reads.read(&self.shared, read).await
    }

    /// Which pins change: for one reader.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.shared.changes
    }

    /// How far this peer has applied the log, now and later.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.shared.applied.subscribe()
    }

    /// Where the state is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.overlay.read().position.clone()
    }

    /// What a crash would leave at least.
    #[must_use]
    pub fn synced(&self) -> Position {
        self.shared.synced.borrow().clone()
    }

    /// Changes the state: `work` runs in order after all work given before. Waits while the overlay
    /// is full.
    pub async fn apply<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut ApplyJob<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let max = self.shared.tuning.overlay_bytes_max;
        let mut backlog = self.shared.backlog.subscribe();
        let ready = backlog
            .wait_for(|b| b.failed.is_some() || b.bytes < max)
            .await
            .map(|b| b.failed.clone());
        if let Ok(Some(failed)) = ready {
            return Err(failed.into());
        }
        let shared = self.shared.clone();
        let out = self.shared.apply_lane.run(move || {
            let begun = Instant::now();
            let done = guard(&shared.path, || {
                work(&mut ApplyJob {
                    shared: &shared,
                    base: None,
                })
            });
            shared.applying.ran(begun);
            let position = shared.overlay.read().position.clone();
            shared.publish_applied(&position);
            shared.publish_backlog(done.as_ref().err().cloned());
            shared.changed.notify_one();
            done
        });
        Ok(out.await??)
    }

    /// Time spent in applying.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.shared.applying.spent()
    }

    /// Writes everything to the file and syncs it; returns what it then holds.
    pub async fn sync(&self) -> Result<Position, ReadError> {
        flush::run(&self.shared, flush::Kind::Synced).await?;
        Ok(self.synced())
    }

    /// Writes everything down and closes the file; later calls fail.
    pub(crate) async fn close(&self) -> Result<(), ReadError> {
        let flushed = self.sync().await;
        let shared = self.shared.clone();
        let closed = self.shared.write_lane.run(move || {
            let database = shared.overlay.write().database.take();
            let (parked, incoming) = (shared.parked.lock().take(), shared.incoming.lock().take());
            guard(&shared.path, || {
                drop((parked, incoming, database));
                Ok(())
            })
        });
        closed.await??;
        flushed.map(drop)
    }

    /// Replaces the whole state by a received one.
    pub(crate) async fn install(
        &self,
        received: snapshot::Received,
    ) -> Result<Position, ReadError> {
        let shared = self.shared.clone();
        let position = self
            .shared
            .write_lane
            .run(move || {
                let position = guard(&shared.path, || received.install(&shared))?;
                shared.synced.send_replace(position.clone());
                shared.publish_applied(&position);
                shared.publish_backlog(None);
                Ok::<_, StoreError>(position)
            })
            .await??;
        Ok(position)
    }

    /// Whether a snapshot is being sent, or the rest of one soon may be.
    pub(crate) fn is_sending(&self) -> bool {
        self.shared.snapshots.available_permits() == 0 || self.shared.parked.lock().is_some()
    }

    /// Length of the state file.
    pub(crate) async fn file_len(&self) -> Result<u64, ReadError> {
        let shared = self.shared.clone();
        let len = self.shared.reads.lane().run(move || {
            shared
                .disk
                .open(&shared.path, crate::env::OpenMode::Read)
                .and_then(|f| f.len())
                .map_err(|e| StoreError(format!("{}: {e}", shared.path.display())))
        });
        Ok(len.await??)
    }
}

/// Work of the state machine, in its lane.
pub struct ApplyJob<'a> {
    shared: &'a Shared,
    /// Kept from step to step until the file changes under it.
    base: Option<Base>,
}

impl std::fmt::Debug for ApplyJob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApplyJob")
    }
}

impl ApplyJob<'_> {
    /// One step, seen by readers as a whole: changes of rows and the position they lead to.
    pub fn step<T>(
        &mut self,
        step: impl FnOnce(&mut dyn StateTx, &mut Position) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut overlay = self.shared.overlay.write();
        let base = match self.base.take() {
            Some(base) if base.generation == overlay.generation => base,
            _ => Base::open(&overlay, &self.shared.path)?,
        };
        let mut position = overlay.position.clone();
        let out = step(
            &mut Tx {
                overlay: &mut overlay,
                base: &base,
            },
            &mut position,
        )?;
        overlay.active.position = Some(position.clone());
        overlay.position = position;
        self.base = Some(base);
        Ok(out)
    }
}

/// How the state file is opened.
pub(super) fn db_file(path: &std::path::Path, tuning: &StateTuning) -> DbFile {
    DbFile {
        path: path.to_path_buf(),
        cache_bytes: tuning.cache_bytes,
        verify_bytes_max: tuning.verify_bytes_max,
    }
}

/// Opens a state file and reads how far it has come.
pub(super) fn open_positioned(
    disk: &dyn Disk,
    file: &DbFile,
) -> Result<(Database, Position), OpenError> {
    let database = open_database(disk, file)?;
    let path = &file.path;
    let stored = guard(path, || {
        let txn = database.begin_read().map_err(failed(path))?;
        let table = match txn.open_table(FILE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(e) => return Err(failed(path)(e)),
        };
        let row = table.get(POSITION_KEY).map_err(failed(path))?;
        Ok(row.map(|r| r.value().to_vec()))
    })?;
    let Some(stored) = stored else {
        return Ok((database, Position::default()));
    };
    let bytes = unseal(POSITION_KEY, &stored)
        .ok_or_else(|| OpenError::damaged(path, &"the position's checksum is wrong"))?;
    match codec::decode(bytes, limits::TABLES_POSITION_BYTES_MAX) {
        Ok(position) => Ok((database, position)),
        Err(codec::DecodeError::Newer { found }) => Err(OpenError::Newer {
            path: path.clone(),
            found: found.into(),
            known: codec::FORMAT.into(),
        }),
        Err(e) => Err(OpenError::damaged(path, &e)),
    }
}
