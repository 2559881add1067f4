//! An IPFS node in memory that does what a test says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt, pending, ready},
    stream,
};
use ipfs_cluster_protocol::{
    id::{Cid, PeerId},
    pin::PinMode,
};
use parking_lot::Mutex;

use crate::ipfs::{IpfsError, IpfsId, IpfsNode, IpfsStream, PinProgress, PinRequest, RepoStat};

#[derive(Debug, Default)]
struct World {
    down: bool,
    pins: BTreeMap<Cid, PinMode>,
    /// No block of these is ever found.
    dead: BTreeSet<Cid>,
    /// The node says no to these.
    refused: BTreeSet<Cid>,
    /// These take so long, a block of 1000 bytes a second.
    slow: BTreeMap<Cid, Duration>,
    calls: usize,
    fetches: Vec<Cid>,
    unpinned: Vec<Cid>,
}

#[derive(Debug, Default)]
pub(super) struct Node(Mutex<World>);

/// The node's own patience.
const STALL: Duration = Duration::from_secs(120);

impl Node {
    pub(super) fn set_down(&self, down: bool) {
        self.0.lock().down = down;
    }
    pub(super) fn set_dead(&self, cid: Cid) {
        self.0.lock().dead.insert(cid);
    }
    pub(super) fn set_refused(&self, cid: Cid, refused: bool) {
        let mut world = self.0.lock();
        if refused {
            world.refused.insert(cid);
        } else {
            world.refused.remove(&cid);
        }
    }
    pub(super) fn set_slow(&self, cid: Cid, takes: Duration) {
        self.0.lock().slow.insert(cid, takes);
    }
    /// The user pins something.
    pub(super) fn user_pins(&self, cid: Cid) {
        self.0.lock().pins.insert(cid, PinMode::Recursive);
    }
    /// The user unpins something.
    pub(super) fn user_unpins(&self, cid: Cid) {
        self.0.lock().pins.remove(&cid);
    }
    pub(super) fn holds(&self, cid: Cid) -> bool {
        self.0.lock().pins.contains_key(&cid)
    }
    pub(super) fn calls(&self) -> usize {
        self.0.lock().calls
    }
    /// How often a fetch of this CID was begun.
    pub(super) fn fetches(&self, cid: Cid) -> usize {
        let world = self.0.lock();
        world.fetches.iter().filter(|c| **c == cid).count()
    }
    pub(super) fn unpinned(&self) -> Vec<Cid> {
        self.0.lock().unpinned.clone()
    }

    fn up(&self) -> Result<(), IpfsError> {
        let mut world = self.0.lock();
        world.calls += 1;
        if world.down {
            return Err(IpfsError::Unreachable("connection refused".into()));
        }
        Ok(())
    }

    async fn fetch(
        &self,
        request: PinRequest,
        mut progress: Box<dyn FnMut(PinProgress) + Send>,
    ) -> Result<(), IpfsError> {
        self.up()?;
        let cid = request.cid;
        let (dead, refused, slow) = {
            let mut world = self.0.lock();
            world.fetches.push(cid);
            let slow = world.slow.get(&cid).copied().unwrap_or_default();
            (
                world.dead.contains(&cid),
                world.refused.contains(&cid),
                slow,
            )
        };
        if refused {
            return Err(IpfsError::Refused("no".into()));
        }
        if dead {
            tokio::time::sleep(STALL).await;
            return Err(IpfsError::Stalled(STALL));
        }
        for blocks in 1..=slow.as_secs() {
            let bytes = blocks * 1000;
            progress(PinProgress { blocks, bytes });
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.up()?;
        self.0.lock().pins.insert(cid, request.mode);
        Ok(())
    }
}

fn never<T: Send + 'static>() -> BoxFuture<'static, T> {
    pending().boxed()
}

impl IpfsNode for Node {
    fn pin(
        &self,
        request: PinRequest,
        progress: Box<dyn FnMut(PinProgress) + Send>,
    ) -> BoxFuture<'_, Result<(), IpfsError>> {
        self.fetch(request, progress).boxed()
    }
    fn unpin(&self, cid: Cid) -> BoxFuture<'_, Result<(), IpfsError>> {
        let done = self.up().and_then(|()| {
            let mut world = self.0.lock();
            world.unpinned.push(cid);
            let had = world.pins.remove(&cid);
            had.map(drop).ok_or(IpfsError::NotPinned)
        });
        async move {
            // The node has done it before it says so.
            tokio::task::yield_now().await;
            done
        }
        .boxed()
    }
    fn pin_mode(&self, cid: Cid) -> BoxFuture<'_, Result<Option<PinMode>, IpfsError>> {
        let found = self.up().map(|()| self.0.lock().pins.get(&cid).copied());
        ready(found).boxed()
    }
    fn pin_ls(&self) -> BoxFuture<'_, Result<IpfsStream<(Cid, PinMode)>, IpfsError>> {
        let listed = self.up().map(|()| {
            let pins = self.0.lock().pins.clone();
            stream::iter(pins.into_iter().map(Ok)).boxed()
        });
        ready(listed).boxed()
    }
    fn id(&self) -> BoxFuture<'_, Result<IpfsId, IpfsError>> {
        never()
    }
    fn version(&self) -> BoxFuture<'_, Result<String, IpfsError>> {
        never()
    }
    fn repo_stat(&self) -> BoxFuture<'_, Result<RepoStat, IpfsError>> {
        never()
    }
    fn swarm_connect(&self, _: String) -> BoxFuture<'_, Result<(), IpfsError>> {
        never()
    }
    fn swarm_peers(&self) -> BoxFuture<'_, Result<Vec<PeerId>, IpfsError>> {
        never()
    }
    fn block_put(&self, _: Vec<(Cid, Bytes)>) -> BoxFuture<'_, Result<(), IpfsError>> {
        never()
    }
    fn block_get(&self, _: Cid) -> BoxFuture<'_, Result<Bytes, IpfsError>> {
        never()
    }
    fn resolve(&self, _: String) -> BoxFuture<'_, Result<Cid, IpfsError>> {
        never()
    }
    fn cat(&self, _: String) -> BoxFuture<'_, Result<IpfsStream<Bytes>, IpfsError>> {
        never()
    }
}
