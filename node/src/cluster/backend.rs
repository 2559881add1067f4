//! The cluster behind its HTTP faces.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use ipfs_cluster_protocol::{
    api::{
        add::{AddParams, AddedOutput},
        bandwidth::Bandwidth,
        gc::RepoGc,
        graph::ConnectGraph,
        id::Id,
        metrics::{Alert, Metric},
        options::PinOptions,
        pinning::{Filter, PinResults, PinStatus, Wanted},
        repair::Repair,
        status::{GlobalPinInfo, PinTypeFilter, StatusFilter},
    },
    content::Block,
    id::{Cid, PeerId},
    pin::Pin,
    request::{Request, RequestKey},
};

use super::{AddSession, Cluster, ClusterError, Commit, ShardedSession};
use crate::{
    api::{self, Backend, Committed, Items, Measurements, ReadAt},
    ipfs::{RepoStat, SharedIpfs},
};

#[async_trait]
impl Backend for Cluster {
    async fn pin(&self, cid: Cid, options: PinOptions) -> Committed {
        Self::pin(self, cid, options).await
    }

    async fn pin_path(&self, path: String, options: PinOptions) -> Committed {
        Self::pin_path(self, path, options).await
    }

    async fn unpin(&self, cid: Cid) -> Committed {
        Self::unpin(self, cid).await
    }

    async fn unpin_path(&self, path: String) -> Committed {
        Self::unpin_path(self, path).await
    }

    async fn allocation(&self, cid: Cid) -> Result<Pin, ClusterError> {
        Self::allocation(self, cid).await
    }

    fn allocations(&self, types: PinTypeFilter) -> Items<Pin> {
        Self::allocations(self, types)
    }

    fn exported(&self, types: PinTypeFilter) -> Items<(Pin, Vec<Request>)> {
        Self::exported(self, types)
    }

    async fn status(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError> {
        Self::status(self, cid, local).await
    }

    fn status_all(&self, filter: StatusFilter, local: bool) -> Items<GlobalPinInfo> {
        Self::status_all(self, filter, local)
    }

    async fn recover(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError> {
        Self::recover(self, cid, local).await
    }

    fn recover_all(&self, local: bool) -> Items<GlobalPinInfo> {
        Self::recover_all(self, local)
    }

    async fn id(&self) -> Id {
        Self::id(self).await
    }

    fn peers(&self) -> BoxStream<'static, Id> {
        Self::peers(self)
    }

    async fn peer_add(&self, peer: PeerId) -> Result<Id, ClusterError> {
        Self::peer_add(self, peer).await
    }

    async fn peer_remove(&self, peer: PeerId, drain: bool) -> Result<(), ClusterError> {
        Self::peer_remove(self, peer, drain).await
    }

    fn metrics(&self, name: &str) -> Vec<Metric> {
        Self::metrics(self, name)
    }

    fn metric_names(&self) -> Vec<String> {
        Self::metric_names(self)
    }

    fn alerts(&self) -> Vec<Alert> {
        Self::alerts(self)
    }

    async fn graph(&self) -> ConnectGraph {
        Self::graph(self).await
    }

    fn bandwidth(&self) -> Bandwidth {
        Self::bandwidth(self)
    }

    async fn repair(&self) -> Result<Repair, ClusterError> {
        Self::repair(self).await
    }

    async fn request(
        &self,
        wanted: Wanted,
        replaces: Option<RequestKey>,
    ) -> Result<PinStatus, ClusterError> {
        Self::request(self, wanted, replaces).await
    }

    async fn withdraw(&self, key: RequestKey) -> Result<(), ClusterError> {
        Self::withdraw(self, key).await
    }

    async fn requested(&self, key: RequestKey) -> Result<PinStatus, ClusterError> {
        Self::requested(self, key).await
    }

    async fn requests(&self, filter: Filter) -> Result<PinResults, ClusterError> {
        Self::requests(self, filter).await
    }

    async fn repo_gc(&self, local: bool) -> Result<RepoGc, ClusterError> {
        Self::repo_gc(self, local).await
    }

    async fn repo_stat(&self) -> Result<RepoStat, ClusterError> {
        Self::repo_stat(self).await
    }

    async fn read_at(&self, at: ReadAt, patience: Duration) -> Result<Commit, ClusterError> {
        let index = match at {
            ReadAt::Index(index, epoch) => {
                self.wait_index(index, epoch, patience).await?;
                index
            }
            ReadAt::Latest => self.read_barrier(patience).await?,
        };
        Ok(Commit {
            index,
            epoch: self.epoch(),
        })
    }

    async fn add_session(
        &self,
        params: &AddParams,
        bytes: u64,
    ) -> Result<Box<dyn api::AddSession>, ClusterError> {
        if params.shard {
            return Ok(Box::new(self.sharded_session(params.clone())?));
        }
        Ok(Box::new(
            Self::add_session(self, params.clone(), bytes).await?,
        ))
    }

    fn measure(&self) -> Measurements {
        Self::measure(self)
    }

    fn ipfs(&self) -> &SharedIpfs {
        Self::ipfs(self)
    }

    fn is_ready(&self) -> bool {
        Self::is_ready(self)
    }
}

#[async_trait]
impl api::AddSession for AddSession {
    fn allocations(&self) -> Vec<PeerId> {
        Self::allocations(self)
    }

    async fn put(&mut self, blocks: Vec<Block>) -> Result<(), ClusterError> {
        let blocks = blocks
            .into_iter()
            .map(|block| (block.cid, block.data))
            .collect();
        Self::put(self, blocks).await
    }

    async fn finish(
        self: Box<Self>,
        root: Cid,
        bytes: u64,
    ) -> Result<Option<(Pin, Commit)>, ClusterError> {
        Self::finish(*self, root, bytes).await
    }
}

#[async_trait]
impl api::AddSession for ShardedSession {
    fn allocations(&self) -> Vec<PeerId> {
        Self::allocations(self)
    }

    async fn put(&mut self, blocks: Vec<Block>) -> Result<(), ClusterError> {
        let blocks = blocks.into_iter().map(|block| (block.cid, block.data));
        Self::put(self, blocks.collect()).await
    }

    fn lines(&mut self) -> Vec<AddedOutput> {
        Self::lines(self)
    }

    async fn seal(&mut self) -> Result<(), ClusterError> {
        Self::seal(self).await
    }

    async fn finish(
        self: Box<Self>,
        root: Cid,
        _bytes: u64,
    ) -> Result<Option<(Pin, Commit)>, ClusterError> {
        Self::finish(*self, root).await
    }
}
