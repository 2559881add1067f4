//! Appending blocks.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use ipfs_cluster_protocol::{
    id::{Cid, CidHash},
    limits::{
        PACK_BYTES, PACK_RECORDS_MAX, PACK_WRITE_BYTES_MAX, PACKED_BLOCK_BYTES_MAX,
        STORE_BATCH_BLOCKS_MAX,
    },
};

use super::{
    Contents, DiskFile, Entry, Key, Open, OpenMode, Pack, Packs, StoreError, format::record_head,
    key,
};

/// From so many bytes on, data are written from where they lie.
const DIRECT: usize = 32 * 1024;

/// A block to be appended.
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) name: CidHash,
    pub(super) data: Bytes,
}

/// The key of a block that belongs into a pack.
pub(in super::super) fn packed(cid: &Cid, data: &[u8]) -> Option<Key> {
    let small = data.len() <= PACKED_BLOCK_BYTES_MAX;
    small.then(|| key(&cid.0.hash().to_bytes())).flatten()
}

/// Parts of a list of blocks, each to be written in one go.
pub(super) fn batches<T>(list: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut parts, mut rest) = (vec![], list);
    while !rest.is_empty() {
        let mut sum = 0;
        let fit = rest.iter().take(STORE_BATCH_BLOCKS_MAX).take_while(|item| {
            sum += bytes(item);
            sum <= PACK_WRITE_BYTES_MAX
        });
        let (part, after) = rest.split_at(fit.count().max(1));
        parts.push(part);
        rest = after;
    }
    parts
}

impl Packs {
    /// Stores small blocks; durable at return. `grown` is told the bytes of those that were not there,
    /// also where what follows them fails.
    pub(in super::super) fn write(
        &self,
        blocks: &[(Key, Cid, Bytes)],
        grown: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        let mut records = Vec::with_capacity(blocks.len());
        for (key, cid, data) in blocks {
            if self.len(key) != Some(data.len() as u64) {
                records.push(Record {
                    key: *key,
                    name: *cid.0.hash(),
                    data: data.clone(),
                });
            }
        }
        for batch in batches(&records, |r| r.data.len()) {
            self.append(batch)?;
            grown(batch.iter().map(|r| r.data.len() as u64).sum());
        }
        Ok(())
    }

    /// Writes a batch and syncs it, whether or not its blocks are there already. A file that takes no
    /// more may not be the fault of the disk: another one is tried.
    pub(super) fn append(&self, records: &[Record]) -> Result<(), StoreError> {
        let used = self.open.lock().is_some();
        match self.append_to_last(records) {
            Err(_) if used => self.append_to_last(records),
            done => done,
        }
    }

    fn append_to_last(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut slot = self.open.lock();
        let mut open = match slot.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let index = self.index.read();
        let start = index.packs.get(&open.number).map_or(0, |pack| pack.end);
        drop(index);
        let end = match self.write_records(&mut open, start, records) {
            Ok(end) => end,
            Err(error) => {
                self.give_up(&open, start);
                return Err(error);
            }
        };
        if u64::from(end) < PACK_BYTES && open.entries.len() < PACK_RECORDS_MAX {
            *slot = Some(open);
            return Ok(());
        }
        let found = Contents {
            entries: open.entries,
            ..Contents::default()
        };
        // The blocks are durable. Without its footer the pack is read whole at the next start.
        if let Err(error) = self.seal(open.number, &*open.file, &found) {
            tracing::warn!(%error, "cannot close a pack of blocks");
        }
        Ok(())
    }

    /// A new pack, its name durable.
    fn begin(&self) -> Result<Open, StoreError> {
        let last = self.index.read().packs.keys().next_back().copied();
        let number = last.map_or(1, |last| last.saturating_add(1));
        let path = self.path(number);
        let failed = |e| StoreError::io(&path, &e);
        let file = self.disk.open(&path, OpenMode::CreateNew).map_err(failed)?;
        if let Err(e) = self.disk.sync_dir(&self.dir) {
            let _ = self.disk.remove_file(&path);
            return Err(failed(e));
        }
        self.index.write().packs.insert(number, Pack::default());
        Ok(Open {
            number,
            file,
            entries: vec![],
        })
    }

    /// Writes records behind all others; gives where they end.
    fn write_records(
        &self,
        open: &mut Open,
        start: u32,
        records: &[Record],
    ) -> Result<u32, StoreError> {
        let path = self.path(open.number);
        let written = write_all(&*open.file, start, records);
        let (end, entries) = written.map_err(|e| StoreError::io(&path, &e))?;
        let mut index = self.index.write();
        for (record, entry) in records.iter().zip(&entries) {
            index.insert(open.number, record.key, entry);
        }
        index.packs.entry(open.number).or_default().end = end;
        open.entries.extend(entries);
        Ok(end)
    }

    /// After a failed write or sync nobody can say what is in the file beyond `end`: nothing is
    /// appended to it any more.
    fn give_up(&self, open: &Open, end: u32) {
        // Should that fail as well, the next start tells whole blocks from others.
        let _ = open.file.set_len(u64::from(end));
        self.remove_if_empty(open.number);
    }

    /// Removes a pack that holds nothing.
    pub(super) fn remove_if_empty(&self, number: u32) {
        let index = self.index.read();
        if index.packs.get(&number).is_none_or(|pack| pack.blocks > 0) {
            return;
        }
        // Nobody reads what is in no index, and readers do not wait for the disk.
        drop(index);
        let path = self.path(number);
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "cannot remove an empty pack of blocks");
            }
            Ok(()) | Err(_) => {
                self.index.write().packs.remove(&number);
            }
        }
    }
}

/// Writes and syncs records from `start` on; gives where they end, and where each of them lies.
fn write_all(file: &dyn DiskFile, start: u32, records: &[Record]) -> io::Result<(u32, Vec<Entry>)> {
    let too_long = || io::Error::from(ErrorKind::FileTooLarge);
    let offset = |at: u64| u32::try_from(at).map_err(|_| too_long());
    let (mut at, mut waiting) = (u64::from(start), Vec::new());
    let mut entries = Vec::with_capacity(records.len());
    for Record { name, data, .. } in records {
        waiting.extend(record_head(name, data).ok_or_else(too_long)?);
        entries.push(Entry {
            name: *name,
            at: offset(at + waiting.len() as u64)?,
            len: offset(data.len() as u64)?,
        });
        if data.len() < DIRECT {
            waiting.extend_from_slice(data);
            continue;
        }
        file.write_at(at, &waiting)?;
        at += waiting.len() as u64;
        waiting.clear();
        file.write_at(at, data)?;
        at += data.len() as u64;
    }
    if !waiting.is_empty() {
        file.write_at(at, &waiting)?;
        at += waiting.len() as u64;
    }
    file.sync()?;
    Ok((offset(at)?, entries))
}
