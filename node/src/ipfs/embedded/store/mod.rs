//! The blockstore: durable blocks, checked whenever they are read.
//!
//! Large blocks are files by themselves ([`files`]), of which nothing is kept in memory; small ones
//! share files ([`packs`]): a file, its name and its two syncs would cost more than their bytes. Writes
//! go through four lanes, each the owner of its share of the blocks, so that many syncs are in flight
//! at a time; reads have lanes of their own and never wait for a sync.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use ipfs_cluster_protocol::{
    content::{
        RAW,
        hash::{inlined, verify},
    },
    id::Cid,
    limits::STORE_BATCH_BLOCKS_MAX,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use crate::env::{Env, Lane};

mod error;
mod files;
mod leaves;
mod packs;
mod portions;
#[cfg(test)]
mod tests;

use super::touched::{Key, Touched, key_of};
pub use error::StoreError;
use files::{Files, LaneState};
use leaves::Leaves;
use packs::{Packs, packed};
pub(super) use portions::Portion;

/// Part of the format: `packs/<lane>` holds what belongs to that lane.
const WRITE_LANES: usize = 4;
const READ_LANES: usize = 2;
/// After so long the blocks are counted again when that failed, and at most so long after the last time.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
const SETTLE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// After so long a disk that was full is tried again.
const REFUSED: Duration = Duration::from_secs(60);

/// The store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Store(Arc<Inner>);

struct Inner {
    files: Files,
    write: Vec<Arc<Writer>>,
    read: Vec<Lane>,
    /// Spreads reads over their lanes.
    reads: AtomicUsize,
    /// Bytes of all blocks counted so far.
    used: AtomicU64,
    max: u64,
    /// What must stay although no pin holds it.
    touched: Touched,
    leaves: Leaves,
    /// When the disk refused a block for want of room, and nothing was stored since.
    refused: Mutex<Option<Instant>>,
    /// Told whenever blocks were stored.
    grown: Notify,
    /// True once every shard found at the start is counted and its names are durable.
    settled: watch::Sender<bool>,
}

/// A lane that writes, and its share of the blocks.
struct Writer {
    lane: Lane,
    folders: Mutex<LaneState>,
    packs: Packs,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a folder. [`Store::settle_at_last`] must be run beside it.
    pub(super) async fn open(root: PathBuf, max: u64, env: &Env) -> Result<Self, StoreError> {
        let files = Files::new(env.disk.clone(), root);
        let write = (0..WRITE_LANES).map(|n| {
            Arc::new(Writer {
                lane: env.lanes.lane(&format!("ipfs-write-{n}")),
                folders: Mutex::default(),
                packs: Packs::new(env.disk.clone(), files.packs(n)),
            })
        });
        let read = (0..READ_LANES).map(|n| env.lanes.lane(&format!("ipfs-read-{n}")));
        let store = Self(Arc::new(Inner {
            files: files.clone(),
            write: write.collect(),
            read: read.collect(),
            reads: AtomicUsize::new(0),
            used: AtomicU64::new(0),
            max,
            touched: Touched::default(),
            leaves: Leaves::default(),
            refused: Mutex::default(),
            grown: Notify::new(),
            settled: watch::channel(false).0,
        }));
        store.reader().run(move || files.prepare()).await??;
        let loading = store.0.write.iter().map(|writer| {
            let of = writer.clone();
            writer.lane.run(move || of.packs.load())
        });
        for bytes in join_all(loading).await {
            store.0.used.fetch_add(bytes??, Ordering::Relaxed);
        }
        Ok(store)
    }

    /// Counts what the store holds, and makes durable what an earlier process may not have synced.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let files = self.0.files.clone();
        let shards = self.reader().run(move || files.shards()).await??;
        for shard in shards {
            let writer = self.0.write[lane_of(&shard)].clone();
            let (lane, files) = (writer.lane.clone(), self.0.files.clone());
            let settle = lane.run(move || files.settle(&mut writer.folders.lock(), shard));
            self.0.used.fetch_add(settle.await??, Ordering::Relaxed);
        }
        self.0.settled.send_replace(true);
        Ok(())
    }

    /// The same, again and again as long as the disk refuses: until it is done nothing can be pinned,
    /// and nobody is told how much room there is.
    pub(super) async fn settle_at_last(&self) {
        let mut pause = SETTLE_AGAIN;
        loop {
            match self.settle().await {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, again_in = ?pause, "cannot count the blocks of the IPFS store");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(SETTLE_AGAIN_MAX);
        }
    }

    /// Resolves when all blocks that can be seen are durable.
    pub(super) async fn settled(&self) -> Result<(), StoreError> {
        let mut settled = self.0.settled.subscribe();
        let done = settled.wait_for(|done| *done).await;
        done.map(|_| ()).map_err(|_| StoreError::Closed)
    }

    /// Bytes held, once they are counted.
    pub(super) async fn used(&self) -> Result<u64, StoreError> {
        self.settled().await?;
        Ok(self.0.used.load(Ordering::Relaxed))
    }

    /// Resolves when blocks were stored since the last time.
    pub(super) async fn grown(&self) {
        self.0.grown.notified().await;
    }

    /// Bytes that can still be stored: none while the disk refuses them.
    pub(super) async fn free(&self) -> Result<u64, StoreError> {
        let used = self.used().await?;
        let allowed = self.0.max.saturating_sub(used);
        if self
            .0
            .refused
            .lock()
            .is_some_and(|at| at.elapsed() < REFUSED)
        {
            return Ok(0);
        }
        let files = self.0.files.clone();
        let on_disk = self.reader().run(move || files.free()).await??;
        Ok(allowed.min(on_disk))
    }

    /// Whether a block is known to link to nothing. Whether it is here is another question.
    pub(super) fn is_leaf(&self, cid: &Cid) -> bool {
        cid.0.codec() == RAW || self.0.leaves.know(cid)
    }

    /// Bytes allowed.
    pub(super) fn max(&self) -> u64 {
        self.0.max
    }

    /// What garbage collection leaves alone.
    pub(super) fn touched(&self) -> &Touched {
        &self.0.touched
    }

    /// Stores blocks of an add that were verified, and keeps them until they are pinned; durable at
    /// return. Blocks carried by their names are not stored.
    pub(super) async fn put(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), StoreError> {
        self.0.touched.put(blocks.iter().map(|(cid, _)| cid));
        self.put_fetched(blocks).await
    }

    /// Stores blocks that others sent. If they belong to a pin being fetched, that keeps them.
    pub(super) async fn put_fetched(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), StoreError> {
        self.0.leaves.look_at(&blocks);
        let mut by_lane: BTreeMap<usize, Vec<(Cid, Bytes)>> = BTreeMap::new();
        let (mut incoming, mut names) = (0, BTreeSet::new());
        for (cid, data) in blocks {
            if inlined(&cid).is_none() && names.insert(cid.0.hash().to_bytes()) {
                incoming += data.len() as u64;
                let lane = lane_of(&self.0.files.place(&cid).shard);
                by_lane.entry(lane).or_default().push((cid, data));
            }
        }
        let used = self.0.used.load(Ordering::Relaxed);
        if used.saturating_add(incoming) > self.0.max {
            let max = self.0.max;
            return Err(StoreError::Full {
                used,
                max,
                incoming,
            });
        }
        let writes = by_lane.into_iter().map(|(n, blocks)| self.write(n, blocks));
        let written = try_join_all(writes).await;
        match &written {
            Err(StoreError::NoRoom { .. }) => *self.0.refused.lock() = Some(Instant::now()),
            Ok(written) if !written.is_empty() => *self.0.refused.lock() = None,
            Ok(_) | Err(_) => {}
        }
        written?;
        self.0.grown.notify_one();
        Ok(())
    }

    async fn write(&self, n: usize, blocks: Vec<(Cid, Bytes)>) -> Result<(), StoreError> {
        let (inner, writer) = (self.0.clone(), self.0.write[n].clone());
        let write = self.0.write[n].lane.run(move || {
            let grown = |bytes| {
                inner.used.fetch_add(bytes, Ordering::Relaxed);
            };
            let (mut small, mut large) = (vec![], vec![]);
            for (cid, data) in blocks {
                match packed(&cid, &data) {
                    // One that is a file already, as all were in earlier versions, stays one.
                    Some(key) if inner.files.len(&cid)? != Some(data.len() as u64) => {
                        small.push((key, cid, data));
                    }
                    Some(_) | None => large.push((cid, data)),
                }
            }
            writer.packs.write(&small, &grown)?;
            for batch in large.chunks(STORE_BATCH_BLOCKS_MAX) {
                let mut folders = writer.folders.lock();
                inner.files.write(n, &mut folders, batch, &grown)?;
            }
            Ok(())
        });
        write.await?
    }

    /// A block, if it is here. Fails when what is here is something else.
    pub(super) async fn get(&self, cid: &Cid) -> Result<Option<Bytes>, StoreError> {
        if let Some(data) = inlined(cid) {
            return Ok(Some(Bytes::copy_from_slice(data)));
        }
        let (inner, cid) = (self.0.clone(), *cid);
        let read = self.reader().run(move || {
            let data = inner.read(&cid)?;
            let good = data.as_ref().is_none_or(|d| verify(&cid, d).is_ok());
            Ok::<_, StoreError>(good.then_some(data))
        });
        match read.await?? {
            Some(data) => Ok(data),
            None => self.move_aside(cid).await,
        }
    }

    /// In the lane that writes the block: it may have been written anew meanwhile.
    async fn move_aside(&self, cid: Cid) -> Result<Option<Bytes>, StoreError> {
        let (inner, n) = (self.0.clone(), self.0.lane(&cid));
        let moved = self.0.write[n].lane.run(move || {
            let Some(data) = inner.read(&cid)? else {
                return Ok(None);
            };
            if verify(&cid, &data).is_ok() {
                return Ok(Some(data));
            }
            let packs = &inner.write[n].packs;
            let key = key_of(&cid).filter(|key| packs.len(key).is_some());
            let (path, gone) = match key {
                Some(key) => {
                    let path = packs.path_of(&key);
                    inner.files.keep_aside(&cid, &data)?;
                    (path, packs.quarantine(&key, &cid))
                }
                None => (inner.files.place(&cid).path, inner.files.quarantine(&cid)?),
            };
            inner.shrunk(gone);
            Err(StoreError::Corrupt { cid, path })
        });
        moved.await?
    }

    /// The lengths of the blocks that are here.
    pub(super) async fn lens(&self, cids: Vec<Cid>) -> Result<Vec<Option<u64>>, StoreError> {
        let inner = self.0.clone();
        let all = move || cids.iter().map(|cid| inner.len(cid)).collect();
        self.reader().run(all).await?
    }

    /// Loses a block, as a damaged disk does.
    #[cfg(test)]
    pub(super) fn lose(&self, cid: &Cid) {
        let Some(key) = key_of(cid) else { return };
        let (cid, len) = (*cid, 0);
        let block = files::StoredBlock { key, cid, len };
        self.0.write[self.0.lane(&cid)].packs.forget(&block);
        let _ = self.0.files.remove(&block);
    }

    /// Resolves when what runs in the lanes has run.
    pub(super) async fn drain(&self) {
        let lanes = self.0.write.iter().map(|writer| writer.lane.run(|| ()));
        // A closed lane runs nothing any more.
        let _ = join_all(lanes).await;
    }

    fn reader(&self) -> &Lane {
        let n = self.0.reads.fetch_add(1, Ordering::Relaxed);
        &self.0.read[n % READ_LANES]
    }
}

impl Inner {
    /// The lane that owns a block.
    fn lane(&self, cid: &Cid) -> usize {
        lane_of(&self.files.place(cid).shard)
    }

    fn len(&self, cid: &Cid) -> Result<Option<u64>, StoreError> {
        if let Some(data) = inlined(cid) {
            return Ok(Some(data.len() as u64));
        }
        let packs = &self.write[self.lane(cid)].packs;
        match key_of(cid).and_then(|key| packs.len(&key)) {
            Some(len) => Ok(Some(len)),
            None => self.files.len(cid),
        }
    }

    /// A block's bytes, unchecked.
    fn read(&self, cid: &Cid) -> Result<Option<Bytes>, StoreError> {
        let packs = &self.write[self.lane(cid)].packs;
        let small = key_of(cid).map(|key| packs.read(&key)).transpose()?;
        match small.flatten() {
            Some(data) => Ok(Some(data)),
            None => self.files.read(cid),
        }
    }

    fn shrunk(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let (order, load) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.used.fetch_update(order, load, less);
    }
}

/// The lane that owns a shard.
fn lane_of(shard: &str) -> usize {
    shard.bytes().map(usize::from).sum::<usize>() % WRITE_LANES
}
