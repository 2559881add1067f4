//! What is told, from an IPFS node that does as the test says; and that another peer hears it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use ipfs_cluster_protocol::{
    hello::Hello,
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, PeerId, Seq},
    pin::{PinMode, PinPhase},
    status::TableId,
};
use parking_lot::Mutex;

use super::{
    sample::{Kind, Sampler},
    *,
};
use crate::{
    config::{Disk, DiskMetric},
    env::real,
    ipfs::{
        IpfsError, IpfsId, IpfsNode, IpfsStream, PinProgress, PinRequest, RepoStat, SharedIpfs,
    },
    monitor::{self, Monitor, Ping},
    net::{self, Identity, Net, NetConfig},
    status::StatusTables,
    worker::Workers,
};

const DEADLINE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(30);

/// An IPFS node of which only identity, room and swarm are asked.
#[derive(Debug)]
struct Scripted {
    id: IpfsId,
    stat: RepoStat,
    down: AtomicBool,
    /// It never answers what is asked of it.
    hangs: AtomicBool,
    connects: Mutex<Vec<String>>,
}

impl Scripted {
    fn new(repo_size: u64) -> Arc<Self> {
        let id = Identity::generate().peer_id();
        Arc::new(Self {
            id: IpfsId {
                addresses: vec![format!("/ip4/127.0.0.1/tcp/4001/p2p/{id}")],
                id,
            },
            stat: RepoStat {
                repo_size,
                storage_max: 1000,
            },
            down: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            connects: Mutex::default(),
        })
    }

    fn answer<T: Send + 'static>(&self, value: T) -> BoxFuture<'_, Result<T, IpfsError>> {
        let down = self.down.load(Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            return Box::pin(std::future::pending());
        }
        let refused = || IpfsError::Unreachable("connection refused".into());
        Box::pin(std::future::ready(if down {
            Err(refused())
        } else {
            Ok(value)
        }))
    }

    fn unasked<T>() -> BoxFuture<'static, Result<T, IpfsError>> {
        panic!("the informer asks for nothing but identity, room and swarm")
    }
}

impl IpfsNode for Scripted {
    fn id(&self) -> BoxFuture<'_, Result<IpfsId, IpfsError>> {
        self.answer(self.id.clone())
    }
    fn repo_stat(&self) -> BoxFuture<'_, Result<RepoStat, IpfsError>> {
        self.answer(self.stat)
    }
    fn swarm_connect(&self, address: String) -> BoxFuture<'_, Result<(), IpfsError>> {
        self.connects.lock().push(address);
        self.answer(())
    }
    fn swarm_peers(&self) -> BoxFuture<'_, Result<Vec<PeerId>, IpfsError>> {
        self.answer(Vec::new())
    }
    fn version(&self) -> BoxFuture<'_, Result<String, IpfsError>> {
        Self::unasked()
    }
    fn pin(
        &self,
        _: PinRequest,
        _: Box<dyn FnMut(PinProgress) + Send>,
    ) -> BoxFuture<'_, Result<(), IpfsError>> {
        Self::unasked()
    }
    fn unpin(&self, _: Cid) -> BoxFuture<'_, Result<(), IpfsError>> {
        Self::unasked()
    }
    fn pin_mode(&self, _: Cid) -> BoxFuture<'_, Result<Option<PinMode>, IpfsError>> {
        Self::unasked()
    }
    fn pin_ls(&self) -> BoxFuture<'_, Result<IpfsStream<(Cid, PinMode)>, IpfsError>> {
        Self::unasked()
    }
    fn block_put(&self, _: Vec<(Cid, Bytes)>) -> BoxFuture<'_, Result<(), IpfsError>> {
        Self::unasked()
    }
    fn block_get(&self, _: Cid) -> BoxFuture<'_, Result<Bytes, IpfsError>> {
        Self::unasked()
    }
    fn resolve(&self, _: String) -> BoxFuture<'_, Result<Cid, IpfsError>> {
        Self::unasked()
    }
    fn cat(&self, _: String) -> BoxFuture<'_, Result<IpfsStream<Bytes>, IpfsError>> {
        Self::unasked()
    }
}

fn settings(metric: DiskMetric) -> Settings {
    Settings {
        peer_name: "one".into(),
        ping_ttl: TTL,
        disk: Some(Disk { ttl: TTL, metric }),
        tags: Some((TTL, BTreeMap::from([("group".into(), "a".into())]))),
        pinqueue: Some((TTL, 10)),
    }
}

fn sampler(ipfs: &Arc<Scripted>, metric: DiskMetric) -> Sampler {
    let local = Identity::generate().peer_id();
    Sampler {
        settings: settings(metric),
        tables: tables(&local),
        local,
        ipfs: ipfs.clone(),
        sizes: hundred_each(),
    }
}

/// Of pins that take a hundred bytes each.
fn hundred_each() -> Sizes {
    Arc::new(|seqs| Box::pin(std::future::ready(100 * seqs.len() as u64)))
}

fn tables(peer: &PeerId) -> StatusTables {
    StatusTables::new(TableId {
        peer: peer.clone(),
        incarnation: Incarnation(1),
        boot: Boot(1),
    })
}

#[tokio::test]
async fn room_is_weighed_as_configured_and_a_full_node_is_no_candidate() {
    let free = sampler(&Scripted::new(300), DiskMetric::FreeSpace)
        .take(Kind::Disk)
        .await;
    assert_eq!(
        (free[0].name.as_str(), free[0].weight, free[0].valid),
        ("freespace", 700, true)
    );
    let used = sampler(&Scripted::new(300), DiskMetric::RepoSize)
        .take(Kind::Disk)
        .await;
    assert_eq!(
        (used[0].name.as_str(), used[0].weight, used[0].valid),
        ("reposize", -300, true)
    );
    let full = sampler(&Scripted::new(1001), DiskMetric::FreeSpace)
        .take(Kind::Disk)
        .await;
    assert!(!full[0].valid);
}

#[tokio::test]
async fn without_its_ipfs_node_a_peer_lives_but_is_no_candidate() {
    let ipfs = Scripted::new(0);
    ipfs.down.store(true, Ordering::Relaxed);
    let sampler = sampler(&ipfs, DiskMetric::FreeSpace);
    let ping = sampler.take(Kind::Ping).await;
    assert!(ping[0].valid);
    let told = Ping::from_value(&ping[0].value).unwrap();
    assert_eq!(told.ipfs_id, None);
    assert_eq!(told.ipfs_error.as_deref(), Some("connection refused"));
    assert!(!sampler.take(Kind::Disk).await[0].valid);
}

#[tokio::test]
async fn the_queue_is_weighed_by_bucket_and_tags_make_domains() {
    let sampler = sampler(&Scripted::new(0), DiskMetric::FreeSpace);
    (0..25).for_each(|s| sampler.tables.set(Seq(s), PinPhase::PinQueued, None));
    sampler.tables.set(Seq(99), PinPhase::Pinned, None);
    let queue = sampler.take(Kind::PinQueue).await;
    assert_eq!((queue[0].value.as_str(), queue[0].weight), ("25", -2));
    let tags = sampler.take(Kind::Tags).await;
    assert_eq!(
        (tags[0].name.as_str(), tags[0].value.as_str()),
        ("tag:group", "a")
    );
    assert!(tags[0].partitionable && !queue[0].partitionable);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_told_in_time() {
    let ipfs = Scripted::new(0);
    ipfs.hangs.store(true, Ordering::Relaxed);
    let sampler = sampler(&ipfs, DiskMetric::FreeSpace);
    let ping = sampler.take(Kind::Ping);
    let ping = tokio::time::timeout(TTL / 3, ping).await.unwrap();
    let told = Ping::from_value(&ping[0].value).unwrap();
    assert_eq!((told.ipfs_id, ping[0].valid), (None, true));
    let error = told.ipfs_error.unwrap();
    assert!(error.contains("no answer"), "{error}");
}

struct Peer {
    net: Net,
    monitor: Monitor,
    ipfs: Arc<Scripted>,
    workers: Workers,
}

impl Peer {
    async fn new(known: &[&Self]) -> Self {
        let cfg = NetConfig {
            psk: Some([7; 32]),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            gossip_heartbeat: Duration::from_millis(200),
            bootstrap: known
                .iter()
                .flat_map(|p| p.net.listen_addresses())
                .collect(),
            ..NetConfig::new(Identity::generate().to_secret().unwrap())
        };
        let net = net::start(cfg, &real::env()).await.unwrap();
        Self {
            monitor: Monitor::new(net.local_peer().clone(), TTL),
            net,
            ipfs: Scripted::new(300),
            workers: Workers::new(),
        }
    }

    fn unite(&mut self, members: &BTreeMap<PeerId, Incarnation>) {
        self.net.set_hello(Hello {
            cluster: Some(ClusterId([1; 16])),
            epoch: Epoch(1),
            incarnation: Some(Incarnation(1)),
            ..Hello::default()
        });
        self.net.set_members(members.clone());
        let members: BTreeSet<PeerId> = members.keys().cloned().collect();
        self.monitor.set_members(&members);
        monitor::start(
            &self.monitor,
            &self.net,
            Duration::from_secs(1),
            Arc::new(|_| async { Vec::new() }.boxed()),
            &mut self.workers,
        );
        let ipfs: SharedIpfs = self.ipfs.clone();
        let tables = tables(self.net.local_peer());
        let settings = settings(DiskMetric::FreeSpace);
        start(
            settings,
            &self.net,
            &ipfs,
            (&tables, hundred_each()),
            &self.monitor,
            &mut self.workers,
        );
    }
}

/// Makes them the members of one cluster.
fn unite(peers: [&mut Peer; 2]) {
    let members = peers.each_ref().map(|p| p.net.local_peer().clone());
    let members = members.map(|peer| (peer, Incarnation(1))).into();
    for peer in peers {
        peer.unite(&members);
    }
}

#[tokio::test]
async fn room_is_not_offered_twice_to_what_is_still_to_come() {
    let sampler = sampler(&Scripted::new(300), DiskMetric::FreeSpace);
    for (seq, phase) in [
        (1, PinPhase::PinQueued),
        (2, PinPhase::Pinning),
        (3, PinPhase::Pinned),
        (4, PinPhase::PinError),
    ] {
        sampler.tables.set(Seq(seq), phase, None);
    }
    let taken = sampler.take(Kind::Disk).await;
    // What is free is shown; what is not promised yet counts.
    assert_eq!((taken[0].value.as_str(), taken[0].weight), ("700", 500));
    sampler.tables.set(Seq(1), PinPhase::Pinned, None);
    sampler.tables.set(Seq(2), PinPhase::Pinned, None);
    assert_eq!(sampler.take(Kind::Disk).await[0].weight, 700);
}

#[tokio::test]
async fn a_peer_whose_node_hangs_is_heard_of_all_the_same() {
    let mut a = Peer::new(&[]).await;
    let mut b = Peer::new(&[&a]).await;
    b.ipfs.hangs.store(true, Ordering::Relaxed);
    unite([&mut a, &mut b]);
    let peer = b.net.local_peer();
    // What needs no node comes soon, the ping once the node was given its time, room never.
    let heard = async {
        while a.monitor.fresh("tag:group", peer).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(a.monitor.ping(peer).is_none());
        while a.monitor.ping(peer).and_then(|p| p.ipfs_error).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, heard)
        .await
        .expect("in time");
    assert!(a.monitor.fresh("freespace", peer).is_none());
}

#[tokio::test]
async fn two_peers_hear_of_each_other_soon_and_connect_their_ipfs_nodes() {
    let mut a = Peer::new(&[]).await;
    let mut b = Peer::new(&[&a]).await;
    unite([&mut a, &mut b]);
    // Far sooner than half a TTL: a new connection is reason enough to speak.
    let heard = async {
        for (here, there) in [(&a, &b), (&b, &a)] {
            let peer = there.net.local_peer();
            let address = &there.ipfs.id.addresses[0];
            while here.monitor.fresh("freespace", peer).map(|m| m.weight) != Some(700)
                || here.monitor.fresh("tag:group", peer).is_none()
                || here.monitor.ping(peer).and_then(|p| p.ipfs_id) != Some(there.ipfs.id.id.clone())
                || !here.ipfs.connects.lock().contains(address)
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    assert!(
        tokio::time::timeout(TTL / 3, heard).await.is_ok(),
        "not heard in time"
    );
    assert!(
        tokio::time::timeout(DEADLINE, a.workers.shutdown(Duration::from_secs(1)))
            .await
            .is_ok()
    );
}
