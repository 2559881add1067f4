//! Blocks that go, and the packs they leave behind.

use ipfs_cluster_protocol::id::Cid;

use super::{
    super::files::StoredBlock,
    Contents, Entry, Key, OpenMode, Packs, StoreError, contents,
    write::{Record, batches},
};

/// A pack is moved when one of so many bytes in it is of no use.
const WASTE: u64 = 4;

impl Packs {
    /// What a pack holds, what of it no longer counts included.
    fn contents(&self, number: u32) -> Result<Contents, StoreError> {
        if let Some(open) = self.open.lock().as_ref().filter(|o| o.number == number) {
            let entries = open.entries.clone();
            return Ok(Contents {
                entries,
                ..Contents::default()
            });
        }
        let path = self.path(number);
        let failed = |e| StoreError::io(&path, &e);
        let file = self.disk.open(&path, OpenMode::Read).map_err(failed)?;
        contents(&*file).map_err(failed)
    }

    /// The blocks of a pack that are there.
    fn live(&self, number: u32) -> Result<Vec<(Key, Entry)>, StoreError> {
        if !self.index.read().packs.contains_key(&number) {
            // Moved since it was listed.
            return Ok(vec![]);
        }
        let entries = self.contents(number)?.entries;
        Ok(self.index.read().live(number, &entries))
    }

    /// The blocks of a pack.
    pub(in super::super) fn blocks_of(&self, number: u32) -> Result<Vec<StoredBlock>, StoreError> {
        let stored = |(key, entry): (Key, Entry)| StoredBlock {
            key,
            cid: entry.cid(),
            len: u64::from(entry.len),
        };
        Ok(self.live(number)?.into_iter().map(stored).collect())
    }

    /// Forgets a block; whether it was there. Its bytes stay until the pack is [tidied](Self::tidy).
    pub(in super::super) fn forget(&self, block: &StoredBlock) -> bool {
        let mut index = self.index.write();
        let Some(spot) = index.spots.remove(&block.key) else {
            return false;
        };
        let entry = Entry {
            name: *block.cid.0.hash(),
            at: spot.at,
            len: spot.len,
        };
        index.left(spot.pack, entry.record_bytes());
        true
    }

    /// Gives back the bytes of blocks that are no longer there; where that is not worth it and some
    /// were forgotten just now, has them forgotten after a restart too.
    pub(in super::super) fn tidy(&self, number: u32, forgotten: bool) -> Result<(), StoreError> {
        let Some(pack) = self.index.read().packs.get(&number).copied() else {
            return Ok(());
        };
        let path = self.path(number);
        if !self.disk.exists(&path) {
            self.lost(number);
            return Ok(());
        }
        let end = u64::from(pack.end);
        if pack.blocks == 0 || end.saturating_sub(pack.live) >= end / WASTE {
            return self.move_rest(number);
        }
        // What a restart brings back of an open pack is garbage again.
        if !forgotten || self.is_open(number) {
            return Ok(());
        }
        let file = self.disk.open(&path, OpenMode::Write);
        let file = file.map_err(|e| StoreError::io(&path, &e))?;
        let found = contents(&*file).map_err(|e| StoreError::io(&path, &e))?;
        self.seal(number, &*file, &found)
    }

    /// Tidies all packs, those first that take least room to move.
    pub(in super::super) fn give_back(&self) -> Result<(), StoreError> {
        let index = self.index.read();
        let mut packs: Vec<(u64, u32)> = index.packs.iter().map(|(n, p)| (p.live, *n)).collect();
        drop(index);
        packs.sort_unstable();
        packs.into_iter().try_for_each(|(_, n)| self.tidy(n, false))
    }

    /// Somebody removed a pack: nothing may be appended to what has no name any more, and its blocks
    /// are missing.
    fn lost(&self, number: u32) {
        tracing::error!(path = %self.path(number).display(), "a pack of blocks is gone");
        if self.is_open(number) {
            *self.open.lock() = None;
        }
        let mut index = self.index.write();
        index.spots.retain(|_, spot| spot.pack != number);
        index.packs.remove(&number);
    }

    fn is_open(&self, number: u32) -> bool {
        let open = self.open.lock();
        open.as_ref().is_some_and(|open| open.number == number)
    }

    /// Appends what a pack holds to another one, and removes it.
    fn move_rest(&self, number: u32) -> Result<(), StoreError> {
        let live = self.live(number)?;
        if self.is_open(number) {
            *self.open.lock() = None;
        }
        for batch in batches(&live, |(_, entry)| entry.len as usize) {
            let mut records = Vec::with_capacity(batch.len());
            for (key, entry) in batch {
                records.push(Record {
                    key: *key,
                    name: entry.name,
                    data: self.read(key)?.unwrap_or_default(),
                });
            }
            self.append(&records)?;
        }
        self.remove_if_empty(number);
        Ok(())
    }

    /// Has it forgotten for good that a block is here, whose bytes are not what its name says. Gives
    /// its length.
    pub(in super::super) fn quarantine(&self, key: &Key, cid: &Cid) -> u64 {
        let Some(spot) = self.index.read().spots.get(key).copied() else {
            return 0;
        };
        let len = u64::from(spot.len);
        self.forget(&StoredBlock {
            key: *key,
            cid: *cid,
            len,
        });
        if let Err(error) = self.tidy(spot.pack, true) {
            tracing::warn!(%error, %cid, "a corrupt block will be found again after a restart");
        }
        len
    }
}
