//! Moves what was applied from the overlay to the state file, in large sorted batches.
//!
//! Most commits are not synced: the log can rebuild them. A synced one follows at least every 5 s or
//! 64 MiB, so a start re-applies little and the log can be purged.

use std::{sync::Arc, time::Duration};

use ipfs_cluster_protocol::{codec, state::tx::StoreError};
use redb::{Database, Durability};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tracing::error;

use super::{
    error::{ReadError, failed, guard},
    overlay::Layer,
    row::seal,
    state_store::Shared,
    tables::{FILE, POSITION_KEY, Position, SETS, TABLES, encode_block, set_key},
};

/// A change is in the file (not yet synced) after this long at most.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// A change is synced after about this long at most.
const SYNC_AFTER: Duration = Duration::from_secs(5);

/// What a flush promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The overlay is empty of what was applied before.
    Unsynced,
    /// And the disk holds it.
    Synced,
}

/// The flusher's task; ends with its handle.
#[derive(Debug)]
pub(super) struct Flusher(JoinHandle<()>);

impl Drop for Flusher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Flusher {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        Self(tokio::spawn(async move {
            if let Err(e) = work(&shared).await {
                error!(error = %e, "the state file cannot be written");
                shared.publish_backlog(Some(StoreError(e.to_string())));
            }
        }))
    }
}

/// Waits for changes, flushes them when they are many or old, syncs when it is time.
async fn work(shared: &Arc<Shared>) -> Result<(), ReadError> {
    let mut unsynced: usize = 0;
    // Set while the file holds something that is not synced.
    let mut sync_at: Option<Instant> = None;
    loop {
        let mut backlog = wait_for_change(shared, sync_at).await;
        if backlog > 0 && backlog < shared.tuning.flush_bytes {
            gather(shared, Instant::now() + FLUSH_AFTER).await;
            backlog = shared.backlog.borrow().bytes;
        }
        let due = sync_at.is_some_and(|at| at <= Instant::now());
        let kind = if due || unsynced + backlog >= shared.tuning.sync_bytes {
            Kind::Synced
        } else {
            Kind::Unsynced
        };
        let flushed = run(shared, kind).await?;
        match kind {
            Kind::Synced => (unsynced, sync_at) = (0, None),
            Kind::Unsynced if flushed > 0 => {
                unsynced += flushed;
                sync_at.get_or_insert(Instant::now() + SYNC_AFTER);
            }
            Kind::Unsynced => {}
        }
    }
}

/// Bytes in the overlay once there are some, or at the time for a sync.
async fn wait_for_change(shared: &Shared, sync_at: Option<Instant>) -> usize {
    loop {
        let bytes = shared.backlog.borrow().bytes;
        if bytes > 0 {
            return bytes;
        }
        let changed = shared.changed.notified();
        match sync_at {
            None => changed.await,
            Some(at) => {
                if timeout_at(at, changed).await.is_err() {
                    return 0;
                }
            }
        }
    }
}

/// Lets changes gather until they fill a batch or `until` has come.
async fn gather(shared: &Shared, until: Instant) {
    while shared.backlog.borrow().bytes < shared.tuning.flush_bytes {
        if timeout_at(until, shared.changed.notified()).await.is_err() {
            return;
        }
    }
}

/// Flushes what is in the overlay now; returns how many bytes that were.
pub(super) async fn run(shared: &Arc<Shared>, kind: Kind) -> Result<usize, ReadError> {
    let inner = shared.clone();
    let flushed = shared
        .write_lane
        .run(move || guard(&inner.path, || flush(&inner, kind)))
        .await??;
    shared.publish_backlog(None);
    Ok(flushed)
}

/// In the write lane, so one at a time.
fn flush(shared: &Shared, kind: Kind) -> Result<usize, StoreError> {
    let (database, layer, position) = {
        let mut overlay = shared.overlay.write();
        if overlay.frozen.is_none() && !overlay.active.is_empty() {
            let layer = std::mem::take(&mut overlay.active);
            overlay.frozen = Some(Arc::new(layer));
        }
        let position = overlay
            .frozen
            .as_ref()
            .and_then(|l| l.position.clone())
            .unwrap_or_else(|| overlay.position.clone());
        (
            overlay.database()?.clone(),
            overlay.frozen.clone(),
            position,
        )
    };
    if layer.is_none() && (kind == Kind::Unsynced || *shared.synced.borrow() == position) {
        return Ok(0);
    }
    commit(shared, &database, layer.as_deref(), &position, kind)?;
    let mut overlay = shared.overlay.write();
    overlay.frozen = None;
    overlay.generation += 1;
    drop(overlay);
    if kind == Kind::Synced {
        shared.synced.send_replace(position);
    }
    Ok(layer.map_or(0, |l| l.bytes))
}

/// One transaction: the layer's rows in key order, and the position.
fn commit(
    shared: &Shared,
    database: &Database,
    layer: Option<&Layer>,
    position: &Position,
    kind: Kind,
) -> Result<(), StoreError> {
    let path = &shared.path;
    let mut txn = database.begin_write().map_err(failed(path))?;
    let durability = match kind {
        Kind::Unsynced => Durability::None,
        Kind::Synced => Durability::Immediate,
    };
    txn.set_durability(durability)
        .map_err(|e| StoreError(format!("{}: {e}", path.display())))?;
    // Without it an open after a crash walks the whole file.
    txn.set_quick_repair(kind == Kind::Synced);
    if let Some(layer) = layer {
        for (table, rows) in TABLES {
            let changed = layer.rows(table);
            if changed.is_empty() {
                continue;
            }
            let mut stored = txn.open_table(rows).map_err(failed(path))?;
            for (key, value) in changed {
                match value {
                    Some(value) => stored.insert(key.as_slice(), seal(key, value).as_slice()),
                    None => stored.remove(key.as_slice()),
                }
                .map_err(failed(path))?;
            }
        }
        let mut sets = txn.open_table(SETS).map_err(failed(path))?;
        for ((set, block), bitmap) in &layer.sets {
            let key = set_key(*set, *block);
            if bitmap.is_empty() {
                sets.remove(key.as_slice())
            } else {
                let sealed = seal(&key, &encode_block(bitmap));
                sets.insert(key.as_slice(), sealed.as_slice())
            }
            .map_err(failed(path))?;
        }
    }
    write_position(&txn, position).map_err(failed(path))?;
    txn.commit().map_err(failed(path))
}

/// Puts the position a transaction leads to into it.
pub(super) fn write_position(
    txn: &redb::WriteTransaction,
    position: &Position,
) -> Result<(), redb::Error> {
    let sealed = seal(POSITION_KEY, &codec::encode(position));
    txn.open_table(FILE)?
        .insert(POSITION_KEY, sealed.as_slice())?;
    Ok(())
}
