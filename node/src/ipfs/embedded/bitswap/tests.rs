//! Several nodes' bitswap over pipes in memory, each with a store on real files.
#![allow(
    clippy::disallowed_methods,
    reason = "tests damage files behind the node's back"
)]

use std::io;

use ipfs_cluster_protocol::content::{RAW, hash::name_like};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;
use crate::env::real;

/// Whom a name reaches.
#[derive(Default)]
struct World(Mutex<BTreeMap<PeerId, Bitswap>>);

/// One node's way to the others.
struct Road {
    me: PeerId,
    world: Arc<World>,
}

impl OpenStream for Road {
    fn open(&self, peer: PeerId) -> BoxFuture<'static, io::Result<(Version, RawPipe)>> {
        let (me, other) = (self.me.clone(), self.world.0.lock().get(&peer).cloned());
        Box::pin(async move {
            let other = other.ok_or(io::ErrorKind::NotConnected)?;
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(other.incoming(me, Version::V1_2, Box::new(theirs.compat())));
            Ok((Version::V1_2, Box::new(ours.compat()) as RawPipe))
        })
    }
}

struct Node {
    peer: PeerId,
    bitswap: Bitswap,
    store: Store,
    _dir: TempDir,
}

fn block(data: Vec<u8>) -> (Cid, Bytes) {
    (name_like(1, RAW, 0x12, 32, &data).unwrap(), data.into())
}

fn blocks(n: u32, size: usize) -> Vec<(Cid, Bytes)> {
    let data = |n: u32| n.to_be_bytes().repeat(size / 4);
    (0..n).map(|n| block(data(n))).collect()
}

async fn nodes(n: u32) -> (Arc<World>, Vec<Node>) {
    let world = Arc::new(World::default());
    let mut nodes = vec![];
    for n in 0..n {
        let hash = name_like(1, RAW, 0x12, 32, &n.to_be_bytes()).unwrap();
        let peer = PeerId::from_bytes(&hash.0.hash().to_bytes()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let env = real::env();
        let store = Store::open(dir.path().to_path_buf(), 1 << 30, &env)
            .await
            .unwrap();
        store.settle().await.unwrap();
        let road = Road {
            me: peer.clone(),
            world: world.clone(),
        };
        let bitswap = Bitswap::new(store.clone(), Arc::new(road));
        world.0.lock().insert(peer.clone(), bitswap.clone());
        nodes.push(Node {
            peer,
            bitswap,
            store,
            _dir: dir,
        });
    }
    (world, nodes)
}

fn connect(a: &Node, b: &Node) {
    a.bitswap.connected(&b.peer);
    b.bitswap.connected(&a.peer);
}

fn disconnect(a: &Node, b: &Node) {
    a.bitswap.disconnected(&b.peer);
    b.bitswap.disconnected(&a.peer);
}

#[tokio::test]
async fn blocks_are_fetched_from_several_sources_and_stored() {
    let (_world, nodes) = nodes(3).await;
    let all = blocks(64, 20_000);
    for source in &nodes[1..] {
        source.store.put(all.clone()).await.unwrap();
        connect(&nodes[0], source);
    }
    let session = nodes[0].bitswap.session();
    let got = all.iter().map(|(cid, _)| session.get(cid));
    let got = futures::future::try_join_all(got).await.unwrap();
    assert!(got.iter().zip(&all).all(|(got, (_, data))| got == data));
    for (cid, data) in &all {
        assert_eq!(nodes[0].store.get(cid).await.unwrap().as_ref(), Some(data));
    }
}

#[tokio::test]
async fn a_block_that_comes_to_a_peer_later_is_sent_then() {
    let (_world, nodes) = nodes(2).await;
    connect(&nodes[0], &nodes[1]);
    let wanted = blocks(1, 4000);
    let session = nodes[0].bitswap.session();
    let cid = wanted[0].0;
    let get = session.get(&cid);
    tokio::pin!(get);
    let soon = timeout(Duration::from_millis(300), get.as_mut()).await;
    assert!(soon.is_err(), "nobody has it yet");
    nodes[1].store.put(wanted.clone()).await.unwrap();
    nodes[1].bitswap.stored(&wanted);
    assert_eq!(get.await.unwrap(), wanted[0].1);
}

#[tokio::test]
async fn a_source_that_leaves_is_replaced_by_one_that_comes() {
    let (world, nodes) = nodes(3).await;
    let all = blocks(1, 4000);
    nodes[2].store.put(all.clone()).await.unwrap();
    connect(&nodes[0], &nodes[1]);
    let session = nodes[0].bitswap.session();
    let get = session.get(&all[0].0);
    tokio::pin!(get);
    assert!(
        timeout(Duration::from_millis(100), get.as_mut())
            .await
            .is_err()
    );
    disconnect(&nodes[0], &nodes[1]);
    world.0.lock().remove(&nodes[1].peer);
    connect(&nodes[0], &nodes[2]);
    assert_eq!(get.await.unwrap(), all[0].1);
}

#[tokio::test]
async fn a_block_that_cannot_be_kept_is_an_error() {
    let (_world, nodes) = nodes(2).await;
    let all = blocks(1, 4000);
    nodes[1].store.put(all.clone()).await.unwrap();
    connect(&nodes[0], &nodes[1]);
    let dir = nodes[0]._dir.path();
    std::fs::remove_dir_all(dir.join("packs")).unwrap();
    let session = nodes[0].bitswap.keeping_session();
    let error = session.get(&all[0].0).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Store(StoreError::Io { .. })),
        "{error}"
    );
    let session = nodes[0].bitswap.session();
    assert_eq!(session.get(&all[0].0).await.unwrap(), all[0].1);
}

#[tokio::test]
async fn garbage_ends_its_stream_and_nothing_else() {
    let (_world, nodes) = nodes(2).await;
    connect(&nodes[0], &nodes[1]);
    let huge = {
        let mut buffer = unsigned_varint::encode::usize_buffer();
        unsigned_varint::encode::usize(BITSWAP_MESSAGE_BYTES_MAX + 1, &mut buffer).to_vec()
    };
    let garbage = [
        vec![0xff; 20],
        vec![5, 0x0b, 1, 2, 3, 4],
        vec![5, 0x0a, 0xff, 0xff, 0xff, 0x7f],
        vec![200, 1, 7],
        huge,
    ];
    for bytes in garbage {
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let pipe = Box::new(theirs.compat());
        let serving = nodes[0]
            .bitswap
            .incoming(nodes[1].peer.clone(), Version::V1_2, pipe);
        ours.write_all(&bytes).await.unwrap();
        ours.shutdown().await.unwrap();
        serving.await;
    }
    let all = blocks(2, 4000);
    nodes[1].store.put(all.clone()).await.unwrap();
    let got = nodes[0].bitswap.session().get(&all[0].0).await.unwrap();
    assert_eq!(got, all[0].1);
}

#[tokio::test]
async fn blocks_nobody_wants_are_not_stored() {
    let (_world, nodes) = nodes(2).await;
    connect(&nodes[0], &nodes[1]);
    let all = blocks(1, 4000);
    let message = Message {
        blocks: all.clone(),
        ..Message::default()
    };
    nodes[0].bitswap.0.handle(&nodes[1].peer, message).await;
    assert_eq!(nodes[0].store.lens(vec![all[0].0]).await.unwrap(), [None]);
}

#[tokio::test]
async fn closing_fails_what_waits() {
    let (_world, nodes) = nodes(1).await;
    let all = blocks(1, 400);
    let session = nodes[0].bitswap.session();
    let (got, ()) = tokio::join!(session.get(&all[0].0), async {
        while !nodes[0].bitswap.0.state.lock().client.is_wanted(&all[0].0) {
            tokio::task::yield_now().await;
        }
        nodes[0].bitswap.close();
    });
    assert_eq!(got, Err(FetchError::Closed));
    assert_eq!(session.get(&all[0].0).await, Err(FetchError::Closed));
}
