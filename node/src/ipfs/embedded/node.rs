//! The node as the cluster sees it.

use std::io;

use bytes::Bytes;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_cluster_protocol::{
    content::hash::verify,
    id::{Cid, PeerId},
    pin::PinMode,
};
use tokio::{task::JoinSet, time::timeout};

use super::{
    CALL_TIMEOUT, Embedded, PinsError, StoreError,
    bitswap::{FetchError, OpenStream, Version},
    dag::{DagError, Source},
    net::Net,
    pins::{Pinned, Reach},
};
use crate::{
    env::RawPipe,
    ipfs::{
        Checked, Collected, IpfsError, IpfsId, IpfsNode, IpfsStream, PinProgress, PinRequest,
        RepoStat,
    },
};

/// Origins of a pin that are connected to.
const ORIGINS_TRIED: usize = 10;
/// Pins listed at a time.
const PAGE: usize = 1024;

impl From<StoreError> for IpfsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Unreachable(error.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<PinsError> for IpfsError {
    fn from(error: PinsError) -> Self {
        match error {
            PinsError::Closed => Self::Unreachable(error.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<FetchError> for IpfsError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Store(error) => error.into(),
            FetchError::Name(error) => Self::Refused(error.to_string()),
            FetchError::Closed => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<DagError> for IpfsError {
    fn from(error: DagError) -> Self {
        match error {
            DagError::Stalled(time) => Self::Stalled(time),
            DagError::Fetch(error) => error.into(),
            DagError::Links { .. } | DagError::TooWide => Self::Refused(error.to_string()),
        }
    }
}

/// A pin as its node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPin {
    pub(crate) cid: Cid,
    pub(crate) mode: PinMode,
    /// May be empty.
    pub(crate) name: String,
}

impl NamedPin {
    fn new(cid: Cid, pin: Pinned) -> Self {
        Self {
            cid,
            mode: pin.mode,
            name: pin.name,
        }
    }
}

fn verify_all(blocks: &[(Cid, Bytes)]) -> Result<(), IpfsError> {
    for (cid, data) in blocks {
        verify(cid, data)?;
    }
    Ok(())
}

impl OpenStream for Net {
    fn open(&self, peer: PeerId) -> BoxFuture<'static, io::Result<(Version, RawPipe)>> {
        let net = self.clone();
        Box::pin(async move { Self::open(&net, &peer).await.map_err(io::Error::other) })
    }
}

impl Embedded {
    /// Stores blocks whose names were checked, and serves those who wait for them.
    pub(super) async fn put(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), IpfsError> {
        self.store.put(blocks.clone()).await?;
        self.bitswap.stored(&blocks);
        Ok(())
    }

    /// Pages of the pins, by CID.
    pub(super) fn pin_pages(&self) -> BoxStream<'static, Vec<(Cid, Reach)>> {
        let pins = self.pins.clone();
        let pages = stream::unfold(None, move |from| {
            let page = pins.page(from, PAGE);
            let last = page.last().map(|(cid, _)| *cid);
            std::future::ready(last.map(|last| (page, Some(last))))
        });
        pages.boxed()
    }

    async fn do_pin(
        &self,
        request: PinRequest,
        mut progress: Box<dyn FnMut(PinProgress) + Send>,
    ) -> Result<(), IpfsError> {
        let PinRequest {
            cid,
            mode,
            shard,
            name,
            ..
        } = request;
        let pinned = Pinned { mode, name, shard };
        match self.pins.get(&cid) {
            // What was just added anew is walked, so that it is not kept beyond the pin.
            Some(pin) if pin == pinned && !self.store.touched().waits(&cid) => return Ok(()),
            Some(pin) if pin.mode == PinMode::Recursive && mode == PinMode::Direct => {
                let text = format!("pin: {cid} already pinned recursively");
                return Err(IpfsError::Refused(text));
            }
            _ => {}
        }
        // Ends with the pin, whether the origins answered or not.
        let _connecting = self.connect_origins(&request.origins);
        let run = self.store.touched().run();
        let source = Source {
            bitswap: &self.bitswap,
            store: &self.store,
            run: &run,
            stall: self.pin_timeout,
        };
        let reach = Reach::new(mode, shard);
        source.fetch(cid, reach, &mut progress).await?;
        // Every block is durable: only now is the pin.
        self.pins.set(cid, Some(pinned)).await?;
        run.pinned();
        Ok(())
    }

    fn connect_origins(&self, origins: &[String]) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for origin in origins.iter().take(ORIGINS_TRIED) {
            let (net, origin) = (self.net.clone(), origin.clone());
            tasks.spawn(async move {
                if let Err(error) = net.connect(&origin).await {
                    tracing::debug!(%origin, %error, "an origin was not reached");
                }
            });
        }
        tasks
    }

    /// The pins of its users and of the cluster, by CID.
    pub(crate) fn named_pins(&self) -> BoxStream<'static, NamedPin> {
        let pins = self.pins.clone();
        let named = self.pin_pages().flat_map(move |page| {
            let named = page.into_iter().filter_map(|(cid, _)| {
                let pin = pins.get(&cid);
                pin.map(|pin| NamedPin::new(cid, pin))
            });
            stream::iter(named.collect::<Vec<_>>())
        });
        named.boxed()
    }

    /// How a CID is pinned itself.
    pub(crate) fn pinned_as(&self, cid: &Cid) -> Option<NamedPin> {
        self.pins.get(cid).map(|pin| NamedPin::new(*cid, pin))
    }

    fn list_pins(&self) -> IpfsStream<(Cid, PinMode)> {
        let flat = self.pin_pages().flat_map(|page| {
            let modes = page.into_iter().map(|(cid, reach)| Ok((cid, reach.mode())));
            stream::iter(modes)
        });
        flat.boxed()
    }
}

impl IpfsNode for Embedded {
    fn id(&self) -> BoxFuture<'_, Result<IpfsId, IpfsError>> {
        let id = IpfsId {
            id: self.peer_id().clone(),
            addresses: self.addresses(),
        };
        Box::pin(std::future::ready(Ok(id)))
    }

    fn version(&self) -> BoxFuture<'_, Result<String, IpfsError>> {
        let version = env!("CARGO_PKG_VERSION").to_string();
        Box::pin(std::future::ready(Ok(version)))
    }

    fn pin(
        &self,
        request: PinRequest,
        progress: Box<dyn FnMut(PinProgress) + Send>,
    ) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(self.do_pin(request, progress))
    }

    fn unpin(&self, cid: Cid) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(async move {
            if self.pins.get(&cid).is_none() {
                return Err(IpfsError::NotPinned);
            }
            Ok(self.pins.set(cid, None).await?)
        })
    }

    fn pin_mode(&self, cid: Cid) -> BoxFuture<'_, Result<Option<PinMode>, IpfsError>> {
        let mode = self.pins.get(&cid).map(|pin| pin.mode);
        Box::pin(std::future::ready(Ok(mode)))
    }

    fn pin_ls(&self) -> BoxFuture<'_, Result<IpfsStream<(Cid, PinMode)>, IpfsError>> {
        Box::pin(std::future::ready(Ok(self.list_pins())))
    }

    fn repo_stat(&self) -> BoxFuture<'_, Result<RepoStat, IpfsError>> {
        Box::pin(async move {
            Ok(RepoStat {
                repo_size: self.store.used().await?,
                storage_max: self.store.max(),
            })
        })
    }

    fn free(&self) -> BoxFuture<'_, Result<u64, IpfsError>> {
        Box::pin(async move { Ok(self.store.free().await?) })
    }

    fn repo_gc(&self) -> BoxFuture<'_, Result<IpfsStream<Collected>, IpfsError>> {
        Box::pin(async move {
            let removed = self.collect().await?;
            Ok(removed.map(|cid| cid.map(Collected::Removed)).boxed())
        })
    }

    fn has_block(&self, cid: Cid) -> BoxFuture<'_, Result<bool, IpfsError>> {
        Box::pin(async move {
            let found = self.store.lens(vec![cid]).await?;
            Ok(found.into_iter().all(|len| len.is_some()))
        })
    }

    fn blocks(&self) -> BoxFuture<'_, Result<IpfsStream<Cid>, IpfsError>> {
        Box::pin(self.list_blocks())
    }

    fn repo_verify(&self) -> BoxFuture<'_, Result<IpfsStream<Checked>, IpfsError>> {
        Box::pin(self.verify_all())
    }

    fn swarm_connect(&self, address: String) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(async move { self.net.connect(&address).await.map_err(IpfsError::Refused) })
    }

    fn swarm_peers(&self) -> BoxFuture<'_, Result<Vec<PeerId>, IpfsError>> {
        Box::pin(std::future::ready(Ok(self.net.connected())))
    }

    fn block_put(&self, blocks: Vec<(Cid, Bytes)>) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(async move {
            verify_all(&blocks)?;
            self.put(blocks).await
        })
    }

    fn begin_upload(&self) -> u64 {
        self.store.touched().upload()
    }

    fn block_put_for(
        &self,
        upload: u64,
        blocks: Vec<(Cid, Bytes)>,
    ) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(async move {
            let cids = blocks.iter().map(|(cid, _)| cid);
            self.store.touched().put_for(upload, cids);
            self.store.put_fetched(blocks.clone()).await?;
            self.bitswap.stored(&blocks);
            Ok(())
        })
    }

    fn end_upload(&self, upload: u64, complete: bool) {
        self.store.touched().end(upload, complete);
    }

    fn block_get(&self, cid: Cid) -> BoxFuture<'_, Result<Bytes, IpfsError>> {
        Box::pin(async move {
            let session = self.bitswap.session();
            match timeout(CALL_TIMEOUT, session.get(&cid)).await {
                Ok(block) => Ok(block?),
                Err(_) => Err(IpfsError::Stalled(CALL_TIMEOUT)),
            }
        })
    }

    fn resolve(&self, path: String) -> BoxFuture<'_, Result<Cid, IpfsError>> {
        Box::pin(async move { self.resolve_path(&path).await })
    }

    fn cat(&self, path: String) -> BoxFuture<'_, Result<IpfsStream<Bytes>, IpfsError>> {
        Box::pin(async move { self.read_file(&path).await })
    }
}
