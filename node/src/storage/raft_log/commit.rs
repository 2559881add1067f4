//! One commit of the log file: many operations, one sync.

use ipfs_cluster_protocol::limits;
use std::{sync::atomic::Ordering, time::Instant};

use bytes::Bytes;
use ipfs_cluster_protocol::state::tx::StoreError;
use redb::{Durability, ReadableTable, WriteTransaction};

use super::{
    Op, Slot,
    file::{LOG, LogFile, SLOTS, encode},
};
use crate::storage::{
    error::{failed, guard},
    row::seal,
};

impl LogFile {
    /// Commits and syncs the operations in their order. Blocks.
    pub(super) fn commit(&self, ops: Vec<Op>, committed: Option<Bytes>) -> Result<(), StoreError> {
        let path = &self.path;
        guard(path, || {
            let begun = Instant::now();
            let database = self.database()?;
            let mut txn = database.begin_write().map_err(failed(path))?;
            txn.set_durability(Durability::Immediate)
                .map_err(|e| StoreError(format!("{}: {e}", path.display())))?;
            let mut purged_below = self.purged_below.load(Ordering::Relaxed);
            for op in ops {
                if let Op::Purge(last) = op {
                    purged_below = purged_below.max(last + 1);
                }
                run(&txn, op).map_err(failed(path))?;
            }
            if let Some(committed) = committed {
                set(&txn, Slot::Committed, &committed).map_err(failed(path))?;
            }
            let cleaned = clean(&txn, purged_below).map_err(failed(path))?;
            self.appending.ran(begun);
            let begun = Instant::now();
            txn.commit().map_err(failed(path))?;
            self.syncing.ran(begun);
            self.purged_below.store(purged_below, Ordering::Relaxed);
            if cleaned {
                self.cleaned.store(purged_below, Ordering::Relaxed);
            }
            Ok(())
        })
    }
}

fn run(txn: &WriteTransaction, op: Op) -> Result<(), redb::Error> {
    match op {
        Op::Append(records) => {
            let mut log = txn.open_table(LOG)?;
            for record in records {
                let sealed = seal(&record.index.to_be_bytes(), &encode(&record));
                log.insert(record.index, sealed.as_slice())?;
            }
        }
        Op::Truncate(first) => {
            let mut log = txn.open_table(LOG)?;
            log.retain_in(first.., |_, _| false)?;
        }
        // Rows go little by little: see `clean`.
        Op::Purge(_) => {}
        Op::Set(slot, value) => set(txn, slot, &value)?,
    }
    Ok(())
}

fn set(txn: &WriteTransaction, slot: Slot, value: &[u8]) -> Result<(), redb::Error> {
    let sealed = seal(slot.key().as_bytes(), value);
    txn.open_table(SLOTS)?
        .insert(slot.key(), sealed.as_slice())?;
    Ok(())
}

/// Removes some purged rows; true when none is left. A purge of a gigabyte must not hold up a vote.
fn clean(txn: &WriteTransaction, purged_below: u64) -> Result<bool, redb::Error> {
    let mut log = txn.open_table(LOG)?;
    for _ in 0..limits::COMMIT_CLEAN_MAX {
        let first = log.first()?.map(|(index, _)| index.value());
        match first {
            Some(index) if index < purged_below => {
                log.remove(index)?;
            }
            _ => return Ok(true),
        }
    }
    Ok(false)
}
