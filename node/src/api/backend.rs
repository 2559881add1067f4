//! What the HTTP layer asks of the cluster. The cluster implements it; so does the double that the
//! tests of this folder run on.

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
    id::{Cid, Epoch, LogIndex, PeerId},
    pin::Pin,
    request::{Request, RequestKey},
};

use super::measure::Measurements;
pub use crate::cluster::Commit;
use crate::{
    cluster::ClusterError,
    ipfs::{RepoStat, SharedIpfs},
};

/// A write that a quorum has in its log.
pub type Committed = Result<(Pin, Commit), ClusterError>;

/// Items that come one after the other.
pub type Items<T> = BoxStream<'static, Result<T, ClusterError>>;

/// How far a read must have seen the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAt {
    /// Up to this index, of this epoch if it is given.
    Index(LogIndex, Option<Epoch>),
    /// Up to everything acknowledged before the request.
    Latest,
}

/// The cluster, as its HTTP clients use it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Pins a CID.
    async fn pin(&self, cid: Cid, options: PinOptions) -> Committed;
    /// Resolves a path (`/ipfs/…`, `/ipns/…`, `/ipld/…`) and pins what it names.
    async fn pin_path(&self, path: String, options: PinOptions) -> Committed;
    /// Unpins a CID; the answer is the pin as it was.
    async fn unpin(&self, cid: Cid) -> Committed;
    /// Resolves a path and unpins what it names.
    async fn unpin_path(&self, path: String) -> Committed;

    /// One pin of the state.
    async fn allocation(&self, cid: Cid) -> Result<Pin, ClusterError>;
    /// The pins of the state.
    fn allocations(&self, types: PinTypeFilter) -> Items<Pin>;
    /// The same, each with the requests of the Pinning Service API for it.
    fn exported(&self, types: PinTypeFilter) -> Items<(Pin, Vec<Request>)>;

    /// What the peers (or this one alone) say of a CID.
    async fn status(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError>;
    /// What they say of all pins.
    fn status_all(&self, filter: StatusFilter, local: bool) -> Items<GlobalPinInfo>;
    /// Retries a pin that failed.
    async fn recover(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError>;
    /// Retries all that failed; yields those.
    fn recover_all(&self, local: bool) -> Items<GlobalPinInfo>;

    /// This peer.
    async fn id(&self) -> Id;
    /// All peers, those that cannot be asked with an error.
    fn peers(&self) -> BoxStream<'static, Id>;
    /// Admits a peer.
    async fn peer_add(&self, peer: PeerId) -> Result<Id, ClusterError>;
    /// Takes a peer out, after its pins are safe elsewhere if `drain`.
    async fn peer_remove(&self, peer: PeerId, drain: bool) -> Result<(), ClusterError>;

    /// The latest valid values of a metric, by peer.
    fn metrics(&self, name: &str) -> Vec<Metric>;
    /// Which metrics there are.
    fn metric_names(&self) -> Vec<String>;
    /// Lapsed metrics, newest first.
    fn alerts(&self) -> Vec<Alert>;
    /// Who is connected to whom.
    async fn graph(&self) -> ConnectGraph;
    /// What went over the swarm, by protocol.
    fn bandwidth(&self) -> Bandwidth;
    /// What is done about pins that lack copies.
    async fn repair(&self) -> Result<Repair, ClusterError>;
    /// Accepts a request of the Pinning Service API, in the place of another if that is named.
    async fn request(
        &self,
        wanted: Wanted,
        replaces: Option<RequestKey>,
    ) -> Result<PinStatus, ClusterError>;
    /// Withdraws a request.
    async fn withdraw(&self, key: RequestKey) -> Result<(), ClusterError>;
    /// One request.
    async fn requested(&self, key: RequestKey) -> Result<PinStatus, ClusterError>;
    /// The newest requests that match.
    async fn requests(&self, filter: Filter) -> Result<PinResults, ClusterError>;
    /// Collects the garbage of the IPFS nodes of all peers, or of this one.
    async fn repo_gc(&self, local: bool) -> Result<RepoGc, ClusterError>;

    /// How full the IPFS nodes are, taken together.
    async fn repo_stat(&self) -> Result<RepoStat, ClusterError>;

    /// What this peer measures of itself.
    fn measure(&self) -> Measurements;

    /// Resolves once this peer has seen the log up to `at`, or fails after `patience`.
    async fn read_at(&self, at: ReadAt, patience: Duration) -> Result<Commit, ClusterError>;
    /// Starts an upload of about so many bytes (0: unknown): decides who gets its blocks.
    async fn add_session(
        &self,
        params: &AddParams,
        bytes: u64,
    ) -> Result<Box<dyn AddSession>, ClusterError>;

    /// The IPFS node beside this peer.
    fn ipfs(&self) -> &SharedIpfs;
    /// Whether this peer has caught up and serves.
    fn is_ready(&self) -> bool;
}

/// Where uploads go: to the peers of the cluster, or to one IPFS node alone.
#[async_trait]
pub(crate) trait AddTo: Clone + Send + Sync + 'static {
    /// Starts an upload of about so many bytes (0: unknown).
    async fn add_session(
        &self,
        params: &AddParams,
        bytes: u64,
    ) -> Result<Box<dyn AddSession>, ClusterError>;
}

/// One upload. Dropped before its end, it pins nothing.
#[async_trait]
pub trait AddSession: Send {
    /// Who gets the blocks.
    fn allocations(&self) -> Vec<PeerId>;
    /// Sends blocks to them; resolves when there is room for more.
    async fn put(&mut self, blocks: Vec<Block>) -> Result<(), ClusterError>;
    /// What there is to tell since the last call, of shards.
    fn lines(&mut self) -> Vec<AddedOutput> {
        Vec::new()
    }
    /// No more blocks come.
    async fn seal(&mut self) -> Result<(), ClusterError> {
        Ok(())
    }
    /// Resolves when the blocks are stored and, unless the upload is not to be pinned, the root is
    /// pinned. The DAG takes so many bytes.
    async fn finish(
        self: Box<Self>,
        root: Cid,
        bytes: u64,
    ) -> Result<Option<(Pin, Commit)>, ClusterError>;
}
