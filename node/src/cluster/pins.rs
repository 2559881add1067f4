//! Use cases on pins.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use ipfs_cluster_protocol::{
    api::{error::parse_cid, options::PinOptions, status::PinTypeFilter},
    id::{Cid, Epoch, LogIndex, Seq},
    limits,
    pin::Pin,
    request::Request,
    rpc::{Done, Op},
    state::query,
};
use tokio::time::Instant;

use super::{Cluster, error::ClusterError};

/// Where a write landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Its log index.
    pub index: LogIndex,
    /// The epoch that the index belongs to.
    pub epoch: Epoch,
}

impl Cluster {
    /// Pins a CID. Returns when the pin is in the log of a quorum; the content follows.
    pub async fn pin(&self, cid: Cid, options: PinOptions) -> Result<(Pin, Commit), ClusterError> {
        if let Some(from) = options.pin_update.filter(|from| *from != cid) {
            let (name, expire_at) = (options.name, options.expire_at);
            let op = Op::Update {
                from,
                to: cid,
                name,
                expire_at,
            };
            return self.landed(self.submit(op).await?);
        }
        let spec = options
            .spec(cid, self.0.settings.default_factors)
            .map_err(|e| ClusterError::Invalid(e.to_string()))?;
        self.landed(
            self.submit(Op::Pin {
                spec: Box::new(spec),
                preset: None,
            })
            .await?,
        )
    }

    /// Pins what a path (`/ipfs/…`, `/ipns/…`, `/ipld/…`) names now.
    pub async fn pin_path(
        &self,
        path: String,
        options: PinOptions,
    ) -> Result<(Pin, Commit), ClusterError> {
        let cid = self.resolve(path).await?;
        self.pin(cid, options).await
    }

    /// Unpins. Answers with the pin as it was.
    pub async fn unpin(&self, cid: Cid) -> Result<(Pin, Commit), ClusterError> {
        self.landed(self.submit(Op::Unpin { cid }).await?)
    }

    /// Unpins what a path names now.
    pub async fn unpin_path(&self, path: String) -> Result<(Pin, Commit), ClusterError> {
        let cid = self.resolve(path).await?;
        self.unpin(cid).await
    }

    /// What a path names now. A CID alone names itself: nobody is asked.
    async fn resolve(&self, path: String) -> Result<Cid, ClusterError> {
        let namespaces = ["/ipfs/", "/ipld/"];
        let rest = namespaces.iter().find_map(|n| path.strip_prefix(n));
        match rest.and_then(|root| parse_cid(root.trim_end_matches('/')).ok()) {
            Some(cid) => Ok(cid),
            None => Ok(self.0.ipfs.resolve(path).await?),
        }
    }

    pub(super) fn landed(&self, done: Done) -> Result<(Pin, Commit), ClusterError> {
        let pin = done.pin.ok_or(ClusterError::NotPinned)?;
        Ok((
            pin,
            Commit {
                index: done.index,
                epoch: self.epoch(),
            },
        ))
    }

    /// The pin of a CID, as this peer knows it.
    pub async fn allocation(&self, cid: Cid) -> Result<Pin, ClusterError> {
        let pin = self
            .read(move |state| query::pin_by_cid(state, &cid))
            .await?;
        pin.ok_or(ClusterError::NotPinned)
    }

    /// All pins of these types, in order of creation, as this peer knows them.
    pub fn allocations(
        &self,
        types: PinTypeFilter,
    ) -> BoxStream<'static, Result<Pin, ClusterError>> {
        self.all_pins()
            .try_filter(move |pin| std::future::ready(types.contains(pin.spec.pin_type)))
            .boxed()
    }

    /// The same, each with the requests of the Pinning Service API for it.
    pub fn exported(
        &self,
        types: PinTypeFilter,
    ) -> BoxStream<'static, Result<(Pin, Vec<Request>), ClusterError>> {
        let start = Some((self.clone(), Seq(0)));
        stream::try_unfold(start, |next| async move {
            let Some((cluster, from)) = next else {
                return Ok::<_, ClusterError>(None);
            };
            let page =
                cluster.read(move |state| query::exported(state, from, limits::LIST_PAGE_PINS));
            let (pins, next) = page.await?;
            let more = next.map(|from| (cluster, from));
            Ok(Some((stream::iter(pins.into_iter().map(Ok)), more)))
        })
        .try_flatten()
        .try_filter(move |(pin, _)| std::future::ready(types.contains(pin.spec.pin_type)))
        .boxed()
    }

    /// Page by page, so that a slow reader holds nothing.
    pub(super) fn all_pins(&self) -> BoxStream<'static, Result<Pin, ClusterError>> {
        let start = Some((self.clone(), Seq(0)));
        stream::try_unfold(start, |next| async move {
            let Some((cluster, from)) = next else {
                return Ok::<_, ClusterError>(None);
            };
            let page = cluster
                .read(move |state| query::pins(state, from, limits::LIST_PAGE_PINS, &|_| true))
                .await?;
            let more = page.next.map(|from| (cluster, from));
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), more)))
        })
        .try_flatten()
        .boxed()
    }

    /// Waits until this peer has applied `index`, for a client that has read or written there.
    pub async fn wait_index(
        &self,
        index: LogIndex,
        epoch: Option<Epoch>,
        patience: Duration,
    ) -> Result<(), ClusterError> {
        let ours = self.epoch();
        if let Some(asked) = epoch.filter(|asked| *asked != ours) {
            return Err(ClusterError::OtherEpoch { asked, ours });
        }
        let deadline = Instant::now() + patience;
        let waited = self.0.consensus.wait_applied(index, deadline).await;
        waited.map_err(|_| ClusterError::TooFarBehind(patience))
    }

    /// Waits until what was acknowledged anywhere before this call can be read here.
    pub async fn read_barrier(&self, patience: Duration) -> Result<LogIndex, ClusterError> {
        let deadline = Instant::now() + patience;
        let barrier = self.0.consensus.read_barrier(deadline).await;
        barrier.map_err(|e| ClusterError::Unavailable(e.to_string()))
    }
}
