//! The blockstore: durable blocks, checked whenever they are read.
//!
//! Nothing is kept in memory per block. Writes go through four lanes, each the owner of its share of
//! the shards, so that many syncs are in flight at a time; reads have lanes of their own and never
//! wait for a sync.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::try_join_all;
use ipfs_cluster_protocol::{
    content::hash::{inlined, verify},
    id::Cid,
    limits::STORE_BATCH_BLOCKS_MAX,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use crate::env::{Env, Lane, LaneClosed};

mod files;
#[cfg(test)]
mod tests;

use super::touched::{Key, Touched};
use files::{Files, LaneState, StoredBlock};

const WRITE_LANES: usize = 4;
const READ_LANES: usize = 2;
/// Blocks removed before the lane is given to others.
const SWEEP_BLOCKS: usize = 64;
/// After so long the blocks are counted again when that failed, and at most so long after the last time.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
const SETTLE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// After so long a disk that was full is tried again.
const REFUSED: Duration = Duration::from_secs(60);

/// Why a block could not be stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk said no.
    #[error("{}: {text}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The disk's words.
        text: String,
    },
    /// The disk has no room, whatever the configured maximum says.
    #[error(
        "the disk of the IPFS store is full ({}: {text}): free some of it; until then this peer \
         takes no new pins",
        path.display()
    )]
    NoRoom {
        /// Which file.
        path: PathBuf,
        /// The disk's words.
        text: String,
    },
    /// The configured maximum is reached.
    #[error("the IPFS store is full: {used} bytes used of {max}, {incoming} more do not fit")]
    Full {
        /// Bytes held.
        used: u64,
        /// Bytes allowed.
        max: u64,
        /// Bytes that were to come.
        incoming: u64,
    },
    /// A file no longer holds its block. It was moved aside.
    #[error("block {cid} was corrupt on disk and was moved aside ({})", path.display())]
    Corrupt {
        /// The block.
        cid: Cid,
        /// Its file.
        path: PathBuf,
    },
    /// The node shuts down.
    #[error("the IPFS store is closed")]
    Closed,
}

impl From<LaneClosed> for StoreError {
    fn from(_: LaneClosed) -> Self {
        Self::Closed
    }
}

/// What a look at blocks found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) whole: u64,
    pub(super) corrupt: Vec<Cid>,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Store(Arc<Inner>);

struct Inner {
    files: Files,
    write: Vec<(Lane, Arc<Mutex<LaneState>>)>,
    read: Vec<Lane>,
    /// Spreads reads over their lanes.
    reads: AtomicUsize,
    /// Bytes of all blocks counted so far.
    used: AtomicU64,
    max: u64,
    /// What must stay although no pin holds it.
    touched: Touched,
    /// When the disk refused a block for want of room, and nothing was stored since.
    refused: Mutex<Option<Instant>>,
    /// Told whenever blocks were stored.
    grown: Notify,
    /// True once every shard found at the start is counted and its names are durable.
    settled: watch::Sender<bool>,
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
            let lane = env.lanes.lane(&format!("ipfs-write-{n}"));
            (lane, Arc::new(Mutex::new(LaneState::default())))
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
            refused: Mutex::default(),
            grown: Notify::new(),
            settled: watch::channel(false).0,
        }));
        store.reader().run(move || files.prepare()).await??;
        Ok(store)
    }

    /// Counts what the store holds, and makes durable what an earlier process may not have synced.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let files = self.0.files.clone();
        let shards = self.reader().run(move || files.shards()).await??;
        for shard in shards {
            let (lane, state) = &self.0.write[lane_of(&shard)];
            let (files, state) = (self.0.files.clone(), state.clone());
            let settle = lane.run(move || files.settle(&mut state.lock(), shard));
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
        let (lane, state) = &self.0.write[n];
        let (inner, state) = (self.0.clone(), state.clone());
        let write = lane.run(move || {
            let mut state = state.lock();
            for batch in blocks.chunks(STORE_BATCH_BLOCKS_MAX) {
                let grown = |bytes| {
                    inner.used.fetch_add(bytes, Ordering::Relaxed);
                };
                inner.files.write(n, &mut state, batch, &grown)?;
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
        let (files, cid) = (self.0.files.clone(), *cid);
        let read = self.reader().run(move || {
            let data = files.read(&cid)?;
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
        let place = self.0.files.place(&cid);
        let (lane, _) = &self.0.write[lane_of(&place.shard)];
        let inner = self.0.clone();
        let moved = lane.run(move || {
            if let Some(data) = inner.files.read(&cid)? {
                if verify(&cid, &data).is_ok() {
                    return Ok(Some(data));
                }
                let gone = inner.files.quarantine(&cid)?;
                let less = |used: u64| Some(used.saturating_sub(gone));
                let (order, load) = (Ordering::Relaxed, Ordering::Relaxed);
                let _ = inner.used.fetch_update(order, load, less);
            }
            Err(StoreError::Corrupt {
                cid,
                path: place.path,
            })
        });
        moved.await?
    }

    /// The lengths of the blocks that are here.
    pub(super) async fn lens(&self, cids: Vec<Cid>) -> Result<Vec<Option<u64>>, StoreError> {
        let files = self.0.files.clone();
        let len = move |cid: &Cid| match inlined(cid) {
            Some(data) => Ok(Some(data.len() as u64)),
            None => files.len(cid),
        };
        let all = self.reader().run(move || cids.iter().map(len).collect());
        all.await?
    }

    /// The file of a block.
    #[cfg(test)]
    pub(super) fn path(&self, cid: &Cid) -> PathBuf {
        self.0.files.place(cid).path
    }

    /// Shards there are.
    pub(super) async fn shards(&self) -> Result<Vec<String>, StoreError> {
        let files = self.0.files.clone();
        self.reader().run(move || files.shards()).await?
    }

    /// Removes the blocks of a shard that are neither marked nor kept; names them.
    pub(super) async fn sweep(
        &self,
        shard: String,
        marks: Arc<HashSet<Key>>,
    ) -> Result<Vec<Cid>, StoreError> {
        let (files, name) = (self.0.files.clone(), shard.clone());
        let unmarked = self.reader().run(move || {
            let mut found = files.blocks_of(&name)?;
            found.retain(|block| !marks.contains(&block.key));
            Ok::<_, StoreError>(found)
        });
        let unmarked = unmarked.await??;
        let (lane, _) = &self.0.write[lane_of(&shard)];
        let mut removed = Vec::new();
        for batch in unmarked.chunks(SWEEP_BLOCKS) {
            let (inner, batch) = (self.0.clone(), batch.to_vec());
            removed.extend(lane.run(move || inner.remove(batch)).await??);
        }
        Ok(removed)
    }

    /// Names the blocks of a shard, as plain bytes.
    pub(super) async fn list(&self, shard: String) -> Result<Vec<Cid>, StoreError> {
        let files = self.0.files.clone();
        let blocks = self.reader().run(move || files.blocks_of(&shard)).await??;
        Ok(blocks.into_iter().map(|block| block.cid).collect())
    }

    /// Reads the blocks of a shard. What is corrupt is moved aside.
    pub(super) async fn verify(&self, shard: String) -> Result<Verified, StoreError> {
        let mut found = Verified::default();
        for cid in self.list(shard).await? {
            match self.get(&cid).await {
                Ok(Some(_)) => found.whole += 1,
                // Removed since the folder was read.
                Ok(None) => {}
                Err(StoreError::Corrupt { cid, .. }) => found.corrupt.push(cid),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Resolves when what runs in the lanes has run.
    pub(super) async fn drain(&self) {
        let lanes = self.0.write.iter().map(|(lane, _)| lane.run(|| ()));
        // A closed lane runs nothing any more.
        let _ = futures::future::join_all(lanes).await;
    }

    fn reader(&self) -> &Lane {
        let n = self.0.reads.fetch_add(1, Ordering::Relaxed);
        &self.0.read[n % READ_LANES]
    }
}

impl Inner {
    /// Removes blocks unless they are kept. To be called in their lane.
    fn remove(&self, blocks: Vec<StoredBlock>) -> Result<Vec<Cid>, StoreError> {
        let mut removed = Vec::with_capacity(blocks.len());
        for block in blocks {
            let gone = self
                .touched
                .unless_kept(&block.key, || self.files.remove(&block));
            if gone.transpose()?.is_some() {
                let less = |used: u64| Some(used.saturating_sub(block.len));
                let (order, load) = (Ordering::Relaxed, Ordering::Relaxed);
                let _ = self.used.fetch_update(order, load, less);
                removed.push(block.cid);
            }
        }
        Ok(removed)
    }
}

/// The lane that owns a shard.
fn lane_of(shard: &str) -> usize {
    shard.bytes().map(usize::from).sum::<usize>() % WRITE_LANES
}
