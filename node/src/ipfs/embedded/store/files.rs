//! Large blocks, each a file.
//!
//! `blocks/<shard>/<name>` holds one block; the name is its multihash in base32, the shard its last
//! two characters but one. A block is written under `tmp/`, synced, then renamed, so a file with a
//! block's name has the whole block; the rename is durable once the shard's folder is synced.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use ipfs_cluster_protocol::{
    content::RAW,
    id::{Cid, CidHash, WideCid},
    limits::BLOCK_BYTES_MAX,
};
use multibase::Base;

use super::{
    super::touched::{Key, key},
    StoreError, WRITE_LANES,
};
use crate::env::{DirEntry, Disk, DiskFile, OpenMode};

/// Where blocks lie. Cheap to clone.
#[derive(Clone)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

/// The file of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shard: String,
    pub(super) path: PathBuf,
}

/// What one lane knows of its shards: those whose folder has no name that is not durable. After a
/// start it knows of none, since the process before may have died between a rename and a sync.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    durable: BTreeSet<String>,
    /// Shards whose bytes are counted.
    counted: BTreeSet<String>,
    /// Numbers the temporary files.
    written: u64,
}

/// A block that lies in a shard.
#[derive(Debug, Clone)]
pub(super) struct StoredBlock {
    pub(super) key: Key,
    /// Its name as a block of plain bytes: the file does not say what else it is.
    pub(super) cid: Cid,
    pub(super) len: u64,
}

/// A block on its way into the store.
struct NewFile {
    tmp: PathBuf,
    place: Place,
    file: Arc<dyn DiskFile>,
    len: u64,
}

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root }
    }

    fn blocks(&self) -> PathBuf {
        self.root.join("blocks")
    }

    /// The folder of a lane's packs.
    pub(super) fn packs(&self, lane: usize) -> PathBuf {
        self.root.join("packs").join(lane.to_string())
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Makes the folders and forgets what was half-written.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let lanes = (0..WRITE_LANES).map(|lane| self.packs(lane));
        for dir in [self.blocks(), self.tmp()].into_iter().chain(lanes) {
            let made = self.disk.create_dir_all(&dir);
            made.map_err(|e| StoreError::io(&dir, &e))?;
        }
        let tmp = self.tmp();
        let left = self.disk.list(&tmp);
        for entry in left.map_err(|e| StoreError::io(&tmp, &e))? {
            let path = tmp.join(entry.name);
            let removed = self.disk.remove_file(&path);
            removed.map_err(|e| StoreError::io(&path, &e))?;
        }
        for dir in [&self.root.join("packs"), &self.root] {
            let synced = self.disk.sync_dir(dir);
            synced.map_err(|e| StoreError::io(dir, &e))?;
        }
        Ok(())
    }

    pub(super) fn place(&self, cid: &Cid) -> Place {
        let name = multibase::encode(Base::Base32Lower, cid.0.hash().to_bytes());
        // A multihash has two bytes at least, hence four characters; `b` is multibase's prefix.
        let shard = name
            .get(name.len().saturating_sub(3)..name.len() - 1)
            .unwrap_or("__");
        Place {
            shard: shard.to_string(),
            path: self.blocks().join(shard).join(&name[1..]),
        }
    }

    /// Bytes that the disk has left.
    pub(super) fn free(&self) -> Result<u64, StoreError> {
        let space = self.disk.space(&self.root);
        let space = space.map_err(|e| StoreError::io(&self.root, &e))?;
        Ok(space.free)
    }

    /// Shards there are.
    pub(super) fn shards(&self) -> Result<Vec<String>, StoreError> {
        let dir = self.blocks();
        let list = self.disk.list(&dir);
        let list = list.map_err(|e| StoreError::io(&dir, &e))?;
        Ok(list
            .into_iter()
            .filter(|e| e.is_dir)
            .map(|e| e.name)
            .collect())
    }

    /// The blocks of a shard. Files that are none are nobody's garbage.
    pub(super) fn blocks_of(&self, shard: &str) -> Result<Vec<StoredBlock>, StoreError> {
        let dir = self.blocks().join(shard);
        let list = self.disk.list(&dir).map_err(|e| StoreError::io(&dir, &e))?;
        let block = |entry: DirEntry| {
            let name = Base::Base32Lower.decode(&entry.name).ok()?;
            let hash = CidHash::from_bytes(&name).ok()?;
            Some(StoredBlock {
                key: key(&name)?,
                cid: Cid(WideCid::new_v1(RAW, hash)),
                len: entry.len,
            })
        };
        Ok(list.into_iter().filter_map(block).collect())
    }

    /// Removes a block; true, even where it was not there.
    pub(super) fn remove(&self, block: &StoredBlock) -> Result<bool, StoreError> {
        let path = self.place(&block.cid).path;
        match self.disk.remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(StoreError::io(&path, &e)),
            Ok(()) | Err(_) => Ok(true),
        }
    }

    pub(super) fn len(&self, cid: &Cid) -> Result<Option<u64>, StoreError> {
        let path = self.place(cid).path;
        let opened = self.open(&path)?;
        let len = opened.map(|f| f.len()).transpose();
        len.map_err(|e| StoreError::io(&path, &e))
    }

    /// The bytes in a block's file, unchecked.
    pub(super) fn read(&self, cid: &Cid) -> Result<Option<Bytes>, StoreError> {
        let path = self.place(cid).path;
        let Some(file) = self.open(&path)? else {
            return Ok(None);
        };
        let read = || {
            // A file that is too long is not the block: reading one byte more shows it.
            let len = file.len()?.min(BLOCK_BYTES_MAX as u64 + 1);
            let mut out = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            let n = file.read_at(0, &mut out)?;
            out.truncate(n);
            Ok(out.into())
        };
        read().map(Some).map_err(|e| StoreError::io(&path, &e))
    }

    fn open(&self, path: &Path) -> Result<Option<Arc<dyn DiskFile>>, StoreError> {
        match self.disk.open(path, OpenMode::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io(path, &e)),
        }
    }

    /// Writes blocks of one lane's shards; durable at return. `grown` is told the bytes of each block
    /// that came into a counted shard, also where what follows it fails.
    pub(super) fn write(
        &self,
        lane: usize,
        state: &mut LaneState,
        blocks: &[(Cid, Bytes)],
        grown: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        let mut files = Vec::with_capacity(blocks.len());
        let written = self.write_new(lane, state, blocks, &mut files);
        let moved = written.and_then(|()| self.move_in(state, &files, grown));
        if moved.is_err() {
            for new in &files {
                // What was written for nothing goes at once, not only at the next start; what was
                // already moved is not there.
                let _ = self.disk.remove_file(&new.tmp);
            }
        }
        moved?;
        let shards: BTreeSet<_> = blocks.iter().map(|(c, _)| self.place(c).shard).collect();
        for shard in shards {
            self.make_durable(state, shard)?;
        }
        Ok(())
    }

    /// Writes and syncs what is not there yet, under temporary names.
    fn write_new(
        &self,
        lane: usize,
        state: &mut LaneState,
        blocks: &[(Cid, Bytes)],
        files: &mut Vec<NewFile>,
    ) -> Result<(), StoreError> {
        for (cid, data) in blocks {
            let len = data.len() as u64;
            if self.len(cid)? == Some(len) {
                continue;
            }
            let tmp = self.tmp().join(format!("{lane}-{}", state.written));
            state.written += 1;
            let opened = self.disk.open(&tmp, OpenMode::CreateNew);
            let file = opened.map_err(|e| StoreError::io(&tmp, &e))?;
            let written = file.write_at(0, data);
            let place = self.place(cid);
            files.push(NewFile {
                tmp,
                place,
                file,
                len,
            });
            written.map_err(|e| StoreError::io(&self.tmp(), &e))?;
        }
        // All are written before the first is synced: the disk takes them together.
        for new in files {
            let synced = new.file.sync();
            synced.map_err(|e| StoreError::io(&new.tmp, &e))?;
        }
        Ok(())
    }

    /// Gives new files their names.
    fn move_in(
        &self,
        state: &mut LaneState,
        files: &[NewFile],
        grown: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        for new in files {
            let shard = &new.place.shard;
            if self.make_shard(shard)? {
                state.counted.insert(shard.clone());
            }
            state.durable.remove(shard);
            let moved = self.disk.rename(&new.tmp, &new.place.path);
            moved.map_err(|e| StoreError::io(&new.tmp, &e))?;
            if state.counted.contains(shard) {
                grown(new.len);
            }
        }
        Ok(())
    }

    /// Makes a shard's folder; true if there was none.
    fn make_shard(&self, shard: &str) -> Result<bool, StoreError> {
        let dir = self.blocks().join(shard);
        if self.disk.exists(&dir) {
            return Ok(false);
        }
        let made = self.disk.create_dir_all(&dir);
        made.map_err(|e| StoreError::io(&dir, &e))?;
        let synced = self.disk.sync_dir(&self.blocks());
        synced.map_err(|e| StoreError::io(&dir, &e))?;
        Ok(true)
    }

    fn make_durable(&self, state: &mut LaneState, shard: String) -> Result<(), StoreError> {
        if !state.durable.contains(&shard) {
            let dir = self.blocks().join(&shard);
            let synced = self.disk.sync_dir(&dir);
            synced.map_err(|e| StoreError::io(&dir, &e))?;
            state.durable.insert(shard);
        }
        Ok(())
    }

    /// Counts a shard's bytes and makes its names durable.
    pub(super) fn settle(&self, state: &mut LaneState, shard: String) -> Result<u64, StoreError> {
        let dir = self.blocks().join(&shard);
        let list = self.disk.list(&dir).map_err(|e| StoreError::io(&dir, &e))?;
        // The shard may have been made by an earlier process that died before it synced the folder.
        let synced = self.disk.sync_dir(&self.blocks());
        synced.map_err(|e| StoreError::io(&dir, &e))?;
        self.make_durable(state, shard.clone())?;
        let bytes = list.iter().map(|e| e.len).sum();
        Ok(if state.counted.insert(shard) {
            bytes
        } else {
            0
        })
    }

    /// Takes a file that is not its block out of the way, so that the block can be had again, and
    /// keeps it for whoever wants to know. Gives the bytes by which the store shrank.
    pub(super) fn quarantine(&self, cid: &Cid) -> Result<u64, StoreError> {
        let (place, to) = (self.place(cid), self.aside(cid)?);
        let len = self.len(cid)?.unwrap_or(0);
        let moved = self.disk.rename(&place.path, &to);
        moved.map_err(|e| StoreError::io(&place.path, &e))?;
        Ok(len)
    }

    /// Keeps bytes that are not the block they were stored as.
    pub(super) fn keep_aside(&self, cid: &Cid, data: &[u8]) -> Result<(), StoreError> {
        let to = self.aside(cid)?;
        let written = self.disk.write_atomic(&to, data);
        written.map_err(|e| StoreError::io(&to, &e))
    }

    /// Where what is not its block goes.
    fn aside(&self, cid: &Cid) -> Result<PathBuf, StoreError> {
        let dir = self.root.join("corrupt");
        let made = self.disk.create_dir_all(&dir);
        made.map_err(|e| StoreError::io(&dir, &e))?;
        Ok(dir.join(self.place(cid).path.file_name().unwrap_or_default()))
    }
}
