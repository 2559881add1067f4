//! Appending blocks.

use std::io::ErrorKind;

use bytes::Bytes;
use ipfs_cluster_protocol::{
    id::{Cid, CidHash},
    limits::{PACK_BYTES, PACK_RECORDS_MAX, PACKED_BLOCK_BYTES_MAX},
};

use super::{
    Contents, Entry, Key, Open, OpenMode, Pack, Packs, StoreError, format::push_record, key,
};

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

impl Packs {
    /// Stores small blocks; durable at return. Gives the bytes of those that were not there.
    pub(in super::super) fn write(&self, blocks: &[(Key, Cid, Bytes)]) -> Result<u64, StoreError> {
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
        if records.is_empty() {
            return Ok(0);
        }
        self.append(&records)?;
        Ok(records.iter().map(|r| r.data.len() as u64).sum())
    }

    /// Writes records and syncs them, whether or not the blocks are there already.
    pub(super) fn append(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut slot = self.open.lock();
        let open = match slot.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let open = slot.insert(open);
        let start = self
            .index
            .read()
            .packs
            .get(&open.number)
            .map_or(0, |p| p.end);
        let written = self.write_records(open, start, records);
        let (number, full) = match written {
            Ok(end) => {
                let full = u64::from(end) >= PACK_BYTES || open.entries.len() >= PACK_RECORDS_MAX;
                (open.number, full)
            }
            Err(error) => {
                self.give_up(slot.take(), start);
                return Err(error);
            }
        };
        if full && let Some(open) = slot.take() {
            let found = Contents {
                entries: open.entries,
                ..Contents::default()
            };
            // The blocks are durable. Without its footer the pack is read whole at the next start.
            if let Err(error) = self.seal(number, &*open.file, &found) {
                tracing::warn!(%error, "cannot close a pack of blocks");
            }
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
        let failed = |e| StoreError::io(&path, &e);
        let too_long = || failed(ErrorKind::FileTooLarge.into());
        let bytes: usize = records.iter().map(|r| r.data.len() + 64).sum();
        let (mut out, mut entries) = (Vec::with_capacity(bytes), vec![]);
        for record in records {
            let at = push_record(&mut out, &record.name, &record.data);
            let at = at
                .and_then(|at| at.checked_add(start))
                .ok_or_else(too_long)?;
            entries.push(Entry {
                name: record.name,
                at,
                len: u32::try_from(record.data.len()).map_err(|_| too_long())?,
            });
        }
        let len = u32::try_from(out.len()).ok();
        let end = len
            .and_then(|len| len.checked_add(start))
            .ok_or_else(too_long)?;
        let written = open.file.write_at(u64::from(start), &out);
        written.and_then(|()| open.file.sync()).map_err(failed)?;
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
    fn give_up(&self, open: Option<Open>, end: u32) {
        let Some(open) = open else { return };
        // Should that fail as well, the next start tells whole blocks from others.
        let _ = open.file.set_len(u64::from(end));
        self.remove_if_empty(open.number);
    }

    /// Removes a pack that holds nothing; whether it did not.
    pub(super) fn remove_if_empty(&self, number: u32) -> bool {
        let mut index = self.index.write();
        if index.packs.get(&number).is_none_or(|pack| pack.blocks > 0) {
            return false;
        }
        let path = self.path(number);
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "cannot remove an empty pack of blocks");
            }
            Ok(()) | Err(_) => {
                index.packs.remove(&number);
            }
        }
        true
    }
}
