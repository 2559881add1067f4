//! A cluster of one in memory, and its IPFS node, for tests of what is above them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use ipfs_cluster_protocol::{
    api::{
        add::AddParams,
        bandwidth::{Bandwidth, BandwidthStats},
        gc::{RepoGc, RepoGcPeer},
        graph::ConnectGraph,
        id::{API_VERSION, Id, IpfsId as ApiIpfsId, RPC_PROTOCOL_VERSION},
        metrics::{Alert, Metric},
        options::PinOptions,
        pinning::{Filter, PinResults, PinStatus, Status, Wanted},
        repair::Repair,
        status::{GlobalPinInfo, PinInfoShort, PinTypeFilter, StatusFilter, TrackerStatus},
        time::Time,
    },
    content::Block,
    id::{Cid, Epoch, LogIndex, PeerId, Rev, Seq},
    pin::{Pin, PinMode},
    request::{Request, RequestKey},
    time::Timestamp,
};
use parking_lot::Mutex;

use crate::{
    api::{
        backend::{AddSession, Backend, Commit, Committed, Items, ReadAt},
        measure::{Measurements, RaftMeasurements},
    },
    cluster::ClusterError,
    ipfs::{
        IpfsError, IpfsId, IpfsNode, IpfsStream, PinProgress, PinRequest, RepoStat, SharedIpfs,
    },
    stage::Spent,
};

pub(super) const P1: &str = "12D3KooWMeLtjJkrx2SsM5wmWPkJ9acpT6VeG6rti56XnQDrSgdp";
pub(super) const P2: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";
const NOW: Timestamp = Timestamp(1_795_356_365_123);
pub(super) const EPOCH: Epoch = Epoch(3);

/// What the double knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pins: BTreeMap<Cid, Pin>,
    pub(super) blocks: BTreeMap<Cid, Bytes>,
    pub(super) commits: u64,
    pub(super) removed: Vec<(PeerId, bool)>,
    /// After so many pins, lists fail.
    pub(super) list_fails_after: Option<usize>,
    pub(super) recovering: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Double {
    pub(super) state: Arc<Mutex<State>>,
    ipfs: SharedIpfs,
}

impl Double {
    pub(super) fn new() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let ipfs = Arc::new(Node(state.clone()));
        Self { state, ipfs }
    }

    fn commit(&self) -> Commit {
        let mut state = self.state.lock();
        state.commits += 1;
        Commit {
            index: LogIndex(state.commits),
            epoch: EPOCH,
        }
    }

    fn info(&self, cid: Cid) -> GlobalPinInfo {
        let pin = self.state.lock().pins.get(&cid).cloned();
        let status = match &pin {
            Some(_) => TrackerStatus::Pinned,
            None => TrackerStatus::Unpinned,
        };
        let short = PinInfoShort {
            peername: "peer1".to_owned(),
            status,
            timestamp: Time::from(NOW).whole_seconds(),
            ..PinInfoShort::default()
        };
        GlobalPinInfo {
            cid,
            name: pin.map(|p| p.spec.name).unwrap_or_default(),
            allocations: Some(Vec::new()),
            origins: None,
            created: Time::from(NOW).whole_seconds(),
            metadata: None,
            peer_map: BTreeMap::from([(P1.parse().unwrap(), short)]),
        }
    }

    fn list<T: Send + 'static>(&self, show: impl Fn(&Pin) -> T) -> Items<T> {
        let state = self.state.lock();
        if state.recovering {
            return stream::iter([Err(ClusterError::Recovering)]).boxed();
        }
        let mut items: Vec<_> = state.pins.values().map(|p| Ok(show(p))).collect();
        if let Some(n) = state.list_fails_after {
            items.truncate(n);
            items.push(Err(ClusterError::Store("the disk is gone".to_owned())));
        }
        stream::iter(items).boxed()
    }
}

/// A request that was accepted just now.
fn status_of(wanted: Wanted) -> PinStatus {
    PinStatus {
        requestid: "0000000000000001".to_owned(),
        status: Status::Queued,
        created: Time::from(NOW),
        pin: wanted,
        delegates: Vec::new(),
        info: BTreeMap::new(),
    }
}

#[async_trait]
impl Backend for Double {
    async fn pin(&self, cid: Cid, options: PinOptions) -> Committed {
        let spec = options
            .spec(cid, (-1, -1))
            .map_err(|e| ClusterError::Invalid(e.to_string()))?;
        assert_ne!(spec.name, "panic", "asked to");
        let pin = Pin {
            seq: Seq(1),
            rev: Rev(1),
            spec,
            allocations: Vec::new(),
            copies: 0,
            timestamp: NOW,
        };
        self.state.lock().pins.insert(cid, pin.clone());
        Ok((pin, self.commit()))
    }

    async fn pin_path(&self, path: String, options: PinOptions) -> Committed {
        let cid = self.ipfs.resolve(path).await?;
        self.pin(cid, options).await
    }

    async fn unpin(&self, cid: Cid) -> Committed {
        let pin = self.state.lock().pins.remove(&cid);
        Ok((pin.ok_or(ClusterError::NotPinned)?, self.commit()))
    }

    async fn unpin_path(&self, path: String) -> Committed {
        let cid = self.ipfs.resolve(path).await?;
        self.unpin(cid).await
    }

    async fn allocation(&self, cid: Cid) -> Result<Pin, ClusterError> {
        self.state
            .lock()
            .pins
            .get(&cid)
            .cloned()
            .ok_or(ClusterError::NotPinned)
    }

    fn allocations(&self, types: PinTypeFilter) -> Items<Pin> {
        let pins = self.list(Pin::clone);
        let keep =
            move |p: &Result<Pin, _>| p.as_ref().is_ok_and(|p| !types.contains(p.spec.pin_type));
        pins.filter(move |p| futures::future::ready(!keep(p)))
            .boxed()
    }

    fn exported(&self, types: PinTypeFilter) -> Items<(Pin, Vec<Request>)> {
        let pins = self.allocations(types);
        pins.map(|pin| pin.map(|pin| (pin, Vec::new()))).boxed()
    }

    async fn status(&self, cid: Cid, _local: bool) -> Result<GlobalPinInfo, ClusterError> {
        Ok(self.info(cid))
    }

    fn status_all(&self, filter: StatusFilter, _local: bool) -> Items<GlobalPinInfo> {
        let own = self.clone();
        if !filter.contains(TrackerStatus::Pinned) {
            return stream::empty().boxed();
        }
        self.list(|p| p.spec.cid)
            .map(move |cid| cid.map(|cid| own.info(cid)))
            .boxed()
    }

    async fn recover(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError> {
        if local && !self.state.lock().pins.contains_key(&cid) {
            return Err(ClusterError::NotPinned);
        }
        Ok(self.info(cid))
    }

    fn recover_all(&self, _local: bool) -> Items<GlobalPinInfo> {
        stream::empty().boxed()
    }

    async fn id(&self) -> Id {
        let own: PeerId = P1.parse().unwrap();
        Id {
            id: own.clone(),
            addresses: Some(vec![format!("/ip4/127.0.0.1/tcp/9096/p2p/{P1}")]),
            cluster_peers: Some(vec![own]),
            cluster_peers_addresses: Some(Vec::new()),
            version: API_VERSION.to_owned(),
            commit: String::new(),
            rpc_protocol_version: RPC_PROTOCOL_VERSION.to_owned(),
            error: String::new(),
            ipfs: ApiIpfsId {
                id: None,
                addresses: None,
                error: "down".to_owned(),
            },
            peername: "peer1".to_owned(),
            draining: None,
        }
    }

    fn peers(&self) -> BoxStream<'static, Id> {
        let own = self.clone();
        let other = Id::unreachable(P2.parse().unwrap(), "failed to dial".to_owned());
        stream::once(async move { own.id().await })
            .chain(stream::iter([other]))
            .boxed()
    }

    async fn peer_add(&self, peer: PeerId) -> Result<Id, ClusterError> {
        Ok(Id::unreachable(peer, String::new()))
    }

    async fn peer_remove(&self, peer: PeerId, drain: bool) -> Result<(), ClusterError> {
        self.state.lock().removed.push((peer, drain));
        Ok(())
    }

    fn metrics(&self, name: &str) -> Vec<Metric> {
        let known = Metric {
            name: name.to_owned(),
            peer: P1.parse().unwrap(),
            value: "1".to_owned(),
            expire: 2,
            valid: true,
            weight: 3,
            partitionable: false,
            received_at: 1,
        };
        (name == "freespace").then_some(known).into_iter().collect()
    }

    fn metric_names(&self) -> Vec<String> {
        vec!["freespace".to_owned()]
    }

    fn alerts(&self) -> Vec<Alert> {
        Vec::new()
    }

    async fn graph(&self) -> ConnectGraph {
        ConnectGraph {
            cluster_id: P1.parse().unwrap(),
            id_to_peername: BTreeMap::new(),
            ipfs_links: BTreeMap::new(),
            cluster_links: BTreeMap::new(),
            cluster_trust_links: BTreeMap::new(),
            cluster_to_ipfs: BTreeMap::new(),
        }
    }

    fn bandwidth(&self) -> Bandwidth {
        let some = BandwidthStats {
            total_in: 3,
            ..BandwidthStats::default()
        };
        Bandwidth::from([(String::new(), some)])
    }

    async fn repair(&self) -> Result<Repair, ClusterError> {
        Ok(Repair::default())
    }

    async fn request(
        &self,
        wanted: Wanted,
        _replaces: Option<RequestKey>,
    ) -> Result<PinStatus, ClusterError> {
        Ok(status_of(wanted))
    }

    async fn withdraw(&self, _key: RequestKey) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn requested(&self, key: RequestKey) -> Result<PinStatus, ClusterError> {
        match key {
            RequestKey::Cid(cid) => Ok(status_of(Wanted {
                cid,
                name: String::new(),
                origins: Vec::new(),
                meta: BTreeMap::new(),
            })),
            RequestKey::Id(_) => Err(ClusterError::NotPinned),
        }
    }

    async fn requests(&self, _filter: Filter) -> Result<PinResults, ClusterError> {
        Ok(PinResults::default())
    }

    async fn repo_stat(&self) -> Result<RepoStat, ClusterError> {
        Ok(RepoStat {
            repo_size: 15,
            storage_max: 30,
        })
    }

    async fn repo_gc(&self, _local: bool) -> Result<RepoGc, ClusterError> {
        let peer: PeerId = P1.parse().unwrap();
        let done = RepoGcPeer {
            peer: peer.clone(),
            peername: "peer1".to_owned(),
            keys: Vec::new(),
            error: String::new(),
        };
        Ok(RepoGc {
            peer_map: BTreeMap::from([(peer, done)]),
        })
    }

    fn measure(&self) -> Measurements {
        Measurements {
            raft: Some(RaftMeasurements {
                profile: "local",
                role: "leader",
                term: 4,
                last_index: 9,
                committed_index: 8,
                applied_index: 7,
                voters: 1,
            }),
            pins: self.state.lock().pins.len() as u64,
            queues: vec![("new", 5)],
            stages: vec![(
                "sync",
                Spent {
                    nanos: 1_500_000_000,
                    times: 3,
                },
            )],
            ..Measurements::default()
        }
    }

    async fn read_at(&self, at: ReadAt, patience: Duration) -> Result<Commit, ClusterError> {
        let index = LogIndex(self.state.lock().commits);
        match at {
            ReadAt::Index(_, Some(asked)) if asked != EPOCH => {
                Err(ClusterError::OtherEpoch { asked, ours: EPOCH })
            }
            ReadAt::Index(asked, _) if asked > index => Err(ClusterError::TooFarBehind(patience)),
            ReadAt::Index(..) | ReadAt::Latest => Ok(Commit {
                index,
                epoch: EPOCH,
            }),
        }
    }

    async fn add_session(
        &self,
        params: &AddParams,
        _bytes: u64,
    ) -> Result<Box<dyn AddSession>, ClusterError> {
        if params.options.replication_factor_min > 1 {
            return Err(ClusterError::Invalid("not enough peers".to_owned()));
        }
        Ok(Box::new(Session {
            double: self.clone(),
            params: params.clone(),
        }))
    }

    fn ipfs(&self) -> &SharedIpfs {
        &self.ipfs
    }

    fn is_ready(&self) -> bool {
        true
    }
}

struct Session {
    double: Double,
    params: AddParams,
}

#[async_trait]
impl AddSession for Session {
    fn allocations(&self) -> Vec<PeerId> {
        vec![P1.parse().unwrap()]
    }

    async fn put(&mut self, blocks: Vec<Block>) -> Result<(), ClusterError> {
        let mut state = self.double.state.lock();
        state
            .blocks
            .extend(blocks.into_iter().map(|b| (b.cid, b.data)));
        Ok(())
    }

    async fn finish(
        self: Box<Self>,
        root: Cid,
        _bytes: u64,
    ) -> Result<Option<(Pin, Commit)>, ClusterError> {
        if self.params.no_pin {
            return Ok(None);
        }
        assert!(
            self.double.state.lock().blocks.contains_key(&root),
            "the root was not sent"
        );
        self.double
            .pin(root, self.params.options.clone())
            .await
            .map(Some)
    }
}

/// The IPFS node of the double.
#[derive(Debug)]
struct Node(Arc<Mutex<State>>);

fn unsupported<T: Send + 'static>() -> BoxFuture<'static, Result<T, IpfsError>> {
    futures::future::ready(Err(IpfsError::Unsupported("not in this test"))).boxed()
}

impl IpfsNode for Node {
    fn id(&self) -> BoxFuture<'_, Result<IpfsId, IpfsError>> {
        let id = IpfsId {
            id: P2.parse().unwrap(),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/4001/p2p/{P2}")],
        };
        futures::future::ready(Ok(id)).boxed()
    }
    fn version(&self) -> BoxFuture<'_, Result<String, IpfsError>> {
        futures::future::ready(Ok("0.1.0".to_owned())).boxed()
    }
    fn pin(
        &self,
        _: PinRequest,
        _: Box<dyn FnMut(PinProgress) + Send>,
    ) -> BoxFuture<'_, Result<(), IpfsError>> {
        unsupported()
    }
    fn unpin(&self, _: Cid) -> BoxFuture<'_, Result<(), IpfsError>> {
        unsupported()
    }
    fn pin_mode(&self, _: Cid) -> BoxFuture<'_, Result<Option<PinMode>, IpfsError>> {
        unsupported()
    }
    fn pin_ls(&self) -> BoxFuture<'_, Result<IpfsStream<(Cid, PinMode)>, IpfsError>> {
        unsupported()
    }
    fn repo_stat(&self) -> BoxFuture<'_, Result<RepoStat, IpfsError>> {
        futures::future::ready(Ok(RepoStat {
            repo_size: 5,
            storage_max: 10,
        }))
        .boxed()
    }
    fn swarm_connect(&self, _: String) -> BoxFuture<'_, Result<(), IpfsError>> {
        unsupported()
    }
    fn swarm_peers(&self) -> BoxFuture<'_, Result<Vec<PeerId>, IpfsError>> {
        futures::future::ready(Ok(vec![P1.parse().unwrap()])).boxed()
    }
    fn block_put(&self, _: Vec<(Cid, Bytes)>) -> BoxFuture<'_, Result<(), IpfsError>> {
        unsupported()
    }
    fn block_get(&self, cid: Cid) -> BoxFuture<'_, Result<Bytes, IpfsError>> {
        let block = self.0.lock().blocks.get(&cid).cloned();
        let block = block.ok_or_else(|| IpfsError::Refused("block was not found".to_owned()));
        futures::future::ready(block).boxed()
    }
    fn resolve(&self, path: String) -> BoxFuture<'_, Result<Cid, IpfsError>> {
        let root = path.split('/').nth(2).unwrap_or_default();
        let cid = match path.split('/').count() {
            3 => root
                .parse()
                .map_err(|_| IpfsError::Refused("no".to_owned())),
            _ => Err(IpfsError::Refused("no link named \"x\"".to_owned())),
        };
        futures::future::ready(cid).boxed()
    }
    fn cat(&self, path: String) -> BoxFuture<'_, Result<IpfsStream<Bytes>, IpfsError>> {
        let text = stream::iter([Ok(Bytes::from(format!("content of {path}")))]);
        futures::future::ready(Ok(text.boxed() as IpfsStream<Bytes>)).boxed()
    }
}
