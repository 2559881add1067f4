//! Small blocks, many to a file.
//!
//! `packs/<lane>/<number>` is one pack (see [`format`]); blocks are appended to the last one and
//! synced together, so that a thousand small files cost a few syncs and no names. Where each block
//! lies is kept in memory, some fifty bytes for each, and read from the packs at the start. A block
//! that goes leaves its bytes behind: a pack of which a quarter is such bytes is moved, block by
//! block, to the end of the last one, and removed.
//!
//! A pack that is written to ends where a crash may have torn it; everything in it was named by its
//! hash, so what is whole is known after a restart. Before the next one is begun, it is durable.

use std::{
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use ipfs_cluster_protocol::limits::PACK_FILE_BYTES_MAX;
use parking_lot::{Mutex, RwLock};

use super::{
    super::touched::{Key, key},
    StoreError,
};
use crate::env::{Disk, DiskFile, OpenMode};
use format::{Contents, Entry, contents, footer};

mod format;
mod sweep;
#[cfg(test)]
mod tests;
mod write;

pub(super) use write::packed;

/// A block may be moved once between a look at the index and the opening of its pack, hardly twice.
const READ_TRIES: usize = 3;

/// The packs of one lane. All but reading is done in that lane.
pub(super) struct Packs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    index: RwLock<Index>,
    /// The pack that is appended to.
    open: Mutex<Option<Open>>,
}

#[derive(Default)]
struct Index {
    spots: HashMap<Key, Spot>,
    packs: BTreeMap<u32, Pack>,
}

/// Where a block's data lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    pack: u32,
    at: u32,
    len: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pack {
    /// Blocks in it that are there.
    blocks: usize,
    /// Bytes of their records.
    live: u64,
    /// Where its records end.
    end: u32,
}

struct Open {
    number: u32,
    file: Arc<dyn DiskFile>,
    entries: Vec<Entry>,
}

impl Index {
    /// Puts a block where it lies now.
    fn insert(&mut self, number: u32, key: Key, entry: &Entry) {
        let spot = Spot {
            pack: number,
            at: entry.at,
            len: entry.len,
        };
        let (before, bytes) = (self.spots.insert(key, spot), entry.record_bytes());
        if let Some(before) = before {
            self.left(before.pack, bytes);
        }
        let pack = self.packs.entry(number).or_default();
        pack.blocks += 1;
        pack.live += bytes;
    }

    /// A block is no longer in this pack.
    fn left(&mut self, number: u32, record_bytes: u64) {
        if let Some(pack) = self.packs.get_mut(&number) {
            pack.blocks = pack.blocks.saturating_sub(1);
            pack.live = pack.live.saturating_sub(record_bytes);
        }
    }

    /// Of the records of a pack, those that count.
    fn live(&self, number: u32, entries: &[Entry]) -> Vec<(Key, Entry)> {
        let live = entries.iter().filter_map(|entry| {
            let key = key(&entry.name.to_bytes())?;
            let spot = self.spots.get(&key)?;
            ((spot.pack, spot.at) == (number, entry.at)).then(|| (key, entry.clone()))
        });
        live.collect()
    }
}

fn file_name(number: u32) -> String {
    format!("{number:08}")
}

impl Packs {
    /// Packs in a folder that is there.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self {
            disk,
            dir,
            index: RwLock::default(),
            open: Mutex::new(None),
        }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(file_name(number))
    }

    /// Finds what is there, and makes it durable. Gives the bytes of all blocks.
    pub(super) fn load(&self) -> Result<u64, StoreError> {
        let failed = |e| StoreError::io(&self.dir, &e);
        // An earlier process may have died before it synced a name.
        self.disk.sync_dir(&self.dir).map_err(failed)?;
        let list = self.disk.list(&self.dir).map_err(failed)?;
        let numbers = list.iter().filter_map(|entry| {
            let number = entry.name.parse().ok()?;
            // What is no pack is not ours to touch.
            (file_name(number) == entry.name).then_some(number)
        });
        let numbers: Vec<u32> = numbers.collect();
        for number in &numbers {
            self.load_pack(*number, Some(number) == numbers.last())?;
        }
        let index = self.index.read();
        Ok(index.spots.values().map(|spot| u64::from(spot.len)).sum())
    }

    fn load_pack(&self, number: u32, last: bool) -> Result<(), StoreError> {
        let path = self.path(number);
        let failed = |e| StoreError::io(&path, &e);
        let file = self.disk.open(&path, OpenMode::Write).map_err(failed)?;
        let found = contents(&*file).map_err(failed)?;
        if !found.sealed {
            // What was written and can be read may yet be in the kernel's memory alone.
            file.sync().map_err(failed)?;
        }
        if found.damaged > 0 {
            let (bytes, blocks) = (found.damaged, found.entries.len());
            tracing::warn!(
                path = %path.display(), bytes, blocks,
                "the end of a pack of blocks, or some of it, is no block: what is whole is kept"
            );
        }
        let mut index = self.index.write();
        index.packs.insert(
            number,
            Pack {
                end: found.end,
                ..Pack::default()
            },
        );
        for entry in &found.entries {
            if let Some(key) = key(&entry.name.to_bytes()) {
                index.insert(number, key, entry);
            }
        }
        drop(index);
        if found.sealed {
            return Ok(());
        }
        if last && found.damaged == 0 {
            let entries = found.entries;
            *self.open.lock() = Some(Open {
                number,
                file,
                entries,
            });
        } else if let Err(error) = self.seal(number, &*file, &found) {
            tracing::warn!(%error, "cannot close a pack of blocks: it is read whole at the next start again");
        }
        Ok(())
    }

    /// Writes the footer of a pack that takes no more, with what of it counts.
    fn seal(&self, number: u32, file: &dyn DiskFile, found: &Contents) -> Result<(), StoreError> {
        let path = self.path(number);
        let failed = |e| StoreError::io(&path, &e);
        let live = self.index.read().live(number, &found.entries);
        let entries: Vec<Entry> = live.into_iter().map(|(_, entry)| entry).collect();
        // Nothing that may be of use to somebody is overwritten, but for an earlier footer.
        let at = if found.sealed {
            u64::from(found.end)
        } else {
            file.len().map_err(failed)?
        };
        let Some(footer) = footer(&entries).filter(|f| at + f.len() as u64 <= PACK_FILE_BYTES_MAX)
        else {
            // Longer than anything this program writes: it is read whole each time.
            return Ok(());
        };
        let written = file.write_at(at, &footer);
        let cut = written.and_then(|()| file.set_len(at + footer.len() as u64));
        cut.and_then(|()| file.sync()).map_err(failed)?;
        if let Some(pack) = self.index.write().packs.get_mut(&number) {
            pack.end = u32::try_from(at).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    /// The length of a block, if it is here.
    pub(super) fn len(&self, key: &Key) -> Option<u64> {
        let index = self.index.read();
        index.spots.get(key).map(|spot| u64::from(spot.len))
    }

    /// The pack that holds a block; the folder of all where none does.
    pub(super) fn path_of(&self, key: &Key) -> PathBuf {
        let spot = self.index.read().spots.get(key).copied();
        spot.map_or_else(|| self.dir.clone(), |spot| self.path(spot.pack))
    }

    /// A block's bytes, unchecked; fewer where its pack was cut behind our back.
    pub(super) fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        for _ in 0..READ_TRIES {
            let Some(spot) = self.index.read().spots.get(key).copied() else {
                return Ok(None);
            };
            let path = self.path(spot.pack);
            let failed = |e| StoreError::io(&path, &e);
            let file = match self.disk.open(&path, OpenMode::Read) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            let mut out = vec![0; spot.len as usize];
            let n = file.read_at(u64::from(spot.at), &mut out);
            out.truncate(n.map_err(failed)?);
            return Ok(Some(out.into()));
        }
        Ok(Some(Bytes::new()))
    }

    /// All packs.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.index.read().packs.keys().copied().collect()
    }
}
