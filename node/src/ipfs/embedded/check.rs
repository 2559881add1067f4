//! Is everything still there? Blocks are read and compared with their names, some at a time; then
//! each pin is walked. What is corrupt or missing is fetched anew from whoever has it.
//!
//! A whole round takes the time that the configuration gives it, however many blocks there are, and
//! begins anywhere, so that a peer that is often restarted comes round all the same.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_protocol::id::Cid;
use tokio::time::{sleep, timeout};

use super::{Embedded, dag::Source, pins::Reach, store::Portion};
use crate::ipfs::{Checked, IpfsError, IpfsStream};

/// How long a block may take to be fetched anew.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Pins walked between two pauses.
const PAGE: usize = 16;
/// After a round that failed at once.
const PAUSE: Duration = Duration::from_secs(60);

impl Embedded {
    /// Reads every block there is. Those that are corrupt are moved aside.
    pub(super) async fn verify_all(&self) -> Result<IpfsStream<Checked>, IpfsError> {
        let (store, portions) = (self.store.clone(), self.store.portions().await?);
        let checked = stream::iter(portions).then(move |portion| {
            let store = store.clone();
            async move { store.verify(portion).await }
        });
        let told = checked.map_err(IpfsError::from).map_ok(|found| {
            let corrupt = found.corrupt.into_iter().map(Checked::Corrupt);
            stream::iter(
                [Checked::Whole(found.whole)]
                    .into_iter()
                    .chain(corrupt)
                    .map(Ok),
            )
        });
        Ok(told.try_flatten().boxed())
    }

    /// Names every block there is.
    pub(super) async fn list_blocks(&self) -> Result<IpfsStream<Cid>, IpfsError> {
        let (store, portions) = (self.store.clone(), self.store.portions().await?);
        let listed = stream::iter(portions).then(move |portion| {
            let store = store.clone();
            async move { store.list(portion).await }
        });
        let named = listed
            .map_err(IpfsError::from)
            .map_ok(|cids| stream::iter(cids.into_iter().map(Ok)));
        Ok(named.try_flatten().boxed())
    }

    /// Has everything checked again and again, each time over so long a time.
    pub fn check_every(self: &Arc<Self>, round: Duration) {
        self.tasks.lock().spawn(rounds(Arc::downgrade(self), round));
    }

    /// Fetches what is missing of one pin.
    async fn complete(&self, root: Cid, reach: Reach) -> Result<(), IpfsError> {
        let run = self.store.touched().run();
        let source = Source {
            bitswap: &self.bitswap,
            store: &self.store,
            run: &run,
            stall: FETCH_TIMEOUT,
        };
        source.fetch(root, reach, &mut |_| {}).await?;
        // Nothing to let go of: it is pinned already.
        Ok(())
    }

    /// Checks the blocks of a portion, and fetches those that were corrupt.
    async fn check_portion(&self, portion: Portion) -> Result<(), IpfsError> {
        for cid in self.store.verify(portion).await?.corrupt {
            let session = self.bitswap.keeping_session();
            match timeout(FETCH_TIMEOUT, session.get(&cid)).await {
                Ok(Ok(_)) => {
                    tracing::warn!(%cid, "a block was corrupt on disk and was fetched anew")
                }
                Ok(Err(error)) => {
                    tracing::error!(%cid, %error, "a block is corrupt and cannot be had")
                }
                Err(_) => tracing::error!(%cid, "a block is corrupt and nobody sends it"),
            }
        }
        Ok(())
    }
}

async fn rounds(node: Weak<Embedded>, round: Duration) {
    let mut skip = rand::random::<u32>();
    loop {
        if let Err(error) = one_round(&node, round, skip).await {
            tracing::warn!(%error, "cannot check the blocks of the IPFS store");
            sleep(PAUSE).await;
        }
        if node.strong_count() == 0 {
            return;
        }
        skip = 0;
    }
}

/// Half of the time for the blocks, half for the pins.
async fn one_round(node: &Weak<Embedded>, round: Duration, skip: u32) -> Result<(), IpfsError> {
    let alive = || {
        node.upgrade()
            .ok_or_else(|| IpfsError::Unreachable(String::new()))
    };
    let mut portions = alive()?.store.portions().await?;
    let steps = u32::try_from(portions.len()).unwrap_or(u32::MAX).max(1);
    portions.drain(..usize::try_from(skip % steps).unwrap_or_default());
    for portion in portions {
        sleep(round / 2 / steps).await;
        alive()?.check_portion(portion).await?;
    }
    let pins = alive()?.pins.len();
    let pages = u32::try_from(pins.div_ceil(PAGE))
        .unwrap_or(u32::MAX)
        .max(1);
    let mut from = None;
    loop {
        sleep(round / 2 / pages).await;
        let node = alive()?;
        let page = node.pins.page(from, PAGE);
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        from = Some(*last);
        for (root, reach) in page {
            if let Err(error) = node.complete(root, reach).await {
                tracing::error!(%root, %error, "a pin lacks blocks that cannot be had");
            }
        }
    }
}
