//! Whole nodes over real sockets and files.
#![allow(
    clippy::disallowed_methods,
    reason = "tests damage files behind the node's back"
)]

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_protocol::{
    content::{
        DAG_CBOR, RAW, Root, hash::name_like, options::ImportOptions, shard_list, tree::Tree,
        unixfs::Attributes,
    },
    id::{Cid, WideCid},
    pin::PinMode,
};
use tempfile::TempDir;

use super::*;
use crate::{
    env::real,
    ipfs::{IpfsError, IpfsNode, PinProgress, PinRequest},
};

fn config(folder: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        pin_timeout: Duration::from_secs(20),
        ..EmbeddedConfig::on_loopback(folder)
    }
}

async fn node(dir: &TempDir) -> Arc<Embedded> {
    start(config(dir.path()), &real::env()).await.unwrap()
}

async fn stop(node: Arc<Embedded>) {
    node.shutdown().await;
    drop(node);
}

fn dirs<const N: usize>() -> [TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

fn random(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
    bytes.into()
}

fn raw_leaves() -> ImportOptions {
    let mut options = ImportOptions::default();
    options.naming.version = 1;
    options.raw_leaves = true;
    options
}

async fn add(node: &Embedded, data: &Bytes) -> Root {
    let pieces: Vec<_> = data
        .chunks(100_000)
        .map(|p| Ok(Bytes::copy_from_slice(p)))
        .collect();
    let pieces = stream::iter(pieces).boxed();
    node.add_file(&raw_leaves(), pieces).await.unwrap()
}

fn pin_request(cid: Cid, mode: PinMode) -> PinRequest {
    PinRequest::new(cid, mode, "")
}

async fn pin(node: &Embedded, cid: Cid, mode: PinMode) -> Result<(), IpfsError> {
    node.pin(pin_request(cid, mode), Box::new(|_| {})).await
}

async fn read(node: &Embedded, path: String) -> Vec<u8> {
    let pieces: Vec<Bytes> = node.cat(path).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

async fn pins(node: &Embedded) -> Vec<(Cid, PinMode)> {
    node.pin_ls().await.unwrap().try_collect().await.unwrap()
}

/// How many blocks a node holds.
async fn held(node: &Embedded) -> usize {
    let blocks = node.blocks().await.unwrap();
    blocks.try_collect::<Vec<_>>().await.unwrap().len()
}

/// Every file of a node's blocks.
fn block_files(dir: &TempDir) -> Vec<PathBuf> {
    let folders = ["blocks", "packs"].map(|name| std::fs::read_dir(dir.path().join(name)).unwrap());
    let folders = folders.into_iter().flatten();
    let files = folders.flat_map(|s| std::fs::read_dir(s.unwrap().path()).unwrap());
    files.map(|f| f.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_from_one_node_to_another_and_survives_a_restart() {
    let [here, there] = dirs();
    let (a, b) = (node(&here).await, node(&there).await);
    let data = random(20_000_000);
    let root = add(&a, &data).await;
    assert_eq!(root.file_size, 20_000_000);
    b.connect_to(&a.addresses());
    let blocks = Arc::new(AtomicU64::new(0));
    let seen = blocks.clone();
    let progress = Box::new(move |p: PinProgress| seen.store(p.blocks, Ordering::Relaxed));
    b.pin(pin_request(root.cid, PinMode::Recursive), progress)
        .await
        .unwrap();
    assert_eq!(blocks.load(Ordering::Relaxed), 77 + 1);
    assert_eq!(b.swarm_peers().await.unwrap(), [a.peer_id().clone()]);
    stop(a).await;
    assert!(read(&b, root.cid.to_string()).await == data);

    let peer = b.peer_id().clone();
    let stat = b.repo_stat().await.unwrap();
    stop(b).await;
    let b = node(&there).await;
    assert_eq!(b.peer_id(), &peer, "the key is kept");
    assert_eq!(pins(&b).await, [(root.cid, PinMode::Recursive)]);
    assert_eq!(b.repo_stat().await.unwrap(), stat);
    assert_eq!(stat.repo_size, root.dag_size);
    assert!(read(&b, format!("/ipfs/{}", root.cid)).await == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_while_fetching_has_no_pin_and_goes_on_from_there() {
    let [here, there] = dirs();
    let a = node(&here).await;
    let data = random(8_000_000);
    let root = add(&a, &data).await;
    let b = node(&there).await;
    b.connect_to(&a.addresses());
    let (half, mut halfway) = tokio::sync::mpsc::channel(1);
    let progress = Box::new(move |p: PinProgress| {
        if p.blocks == 10 {
            let _ = half.try_send(());
        }
    });
    tokio::select! {
        biased;
        _ = halfway.recv() => {}
        pinned = b.pin(pin_request(root.cid, PinMode::Recursive), progress) => pinned.unwrap(),
    }
    assert_eq!(pins(&b).await, []);
    drop(b);
    let b = loop {
        match start(config(there.path()), &real::env()).await {
            Ok(b) => break b,
            Err(EmbeddedError::InUse(_)) => tokio::task::yield_now().await,
            Err(e) => panic!("{e}"),
        }
    };
    b.connect_to(&a.addresses());
    pin(&b, root.cid, PinMode::Recursive).await.unwrap();
    stop(a).await;
    assert!(read(&b, root.cid.to_string()).await == data);
}

#[tokio::test]
async fn a_corrupt_block_is_noticed_and_fetched_anew() {
    let [here, there] = dirs();
    let (a, b) = (node(&here).await, node(&there).await);
    let data = random(600_000);
    let root = add(&a, &data).await;
    b.connect_to(&a.addresses());
    pin(&b, root.cid, PinMode::Recursive).await.unwrap();
    let files = block_files(&there);
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    assert!(read(&b, root.cid.to_string()).await == data);
    assert_eq!(
        std::fs::read_dir(there.path().join("corrupt"))
            .unwrap()
            .count(),
        files.len(),
        "the last block in each file"
    );
}

#[tokio::test]
async fn pins_follow_kubos_rules() {
    let [dir] = dirs();
    let a = node(&dir).await;
    let cid = add(&a, &random(300_000)).await.cid;
    let other = add(&a, &random(10)).await.cid;
    assert!(matches!(a.unpin(cid).await, Err(IpfsError::NotPinned)));
    pin(&a, cid, PinMode::Direct).await.unwrap();
    assert_eq!(a.pin_mode(cid).await.unwrap(), Some(PinMode::Direct));
    pin(&a, cid, PinMode::Recursive).await.unwrap();
    assert_eq!(a.pin_mode(cid).await.unwrap(), Some(PinMode::Recursive));
    let error = pin(&a, cid, PinMode::Direct).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("pin: {cid} already pinned recursively")
    );
    assert_eq!(a.pin_mode(other).await.unwrap(), None);
    a.unpin(cid).await.unwrap();
    assert!(matches!(a.unpin(cid).await, Err(IpfsError::NotPinned)));
    assert_eq!(pins(&a).await, []);
}

#[tokio::test]
async fn a_direct_pin_fetches_the_root_alone() {
    let [here, there] = dirs();
    let (a, b) = (node(&here).await, node(&there).await);
    let root = add(&a, &random(600_000)).await;
    b.connect_to(&a.addresses());
    pin(&b, root.cid, PinMode::Direct).await.unwrap();
    assert_eq!(block_files(&there).len(), 1);
}

#[tokio::test]
async fn a_pin_without_a_source_stalls() {
    let [dir] = dirs();
    let mut config = config(dir.path());
    config.pin_timeout = Duration::from_millis(200);
    let a = start(config, &real::env()).await.unwrap();
    let nowhere = name_like(1, RAW, 0x12, 32, b"nowhere").unwrap();
    let error = pin(&a, nowhere, PinMode::Recursive).await.unwrap_err();
    assert!(matches!(error, IpfsError::Stalled(_)), "{error}");
    let unknown = Cid(WideCid::new_v1(0x78, *nowhere.0.hash()));
    a.block_put(vec![(unknown, Bytes::from_static(b"nowhere"))])
        .await
        .unwrap();
    let error = pin(&a, unknown, PinMode::Recursive).await.unwrap_err();
    assert!(
        error.to_string().contains("no decoder registered"),
        "{error}"
    );
}

#[tokio::test]
async fn blocks_are_checked_before_they_are_stored() {
    let [dir] = dirs();
    let a = node(&dir).await;
    let cid = name_like(1, DAG_CBOR, 0x12, 32, &[0xa0]).unwrap();
    let wrong = a.block_put(vec![(cid, Bytes::from_static(b"x"))]).await;
    assert!(matches!(wrong, Err(IpfsError::Refused(_))), "{wrong:?}");
    a.block_put(vec![(cid, Bytes::from_static(&[0xa0]))])
        .await
        .unwrap();
    assert_eq!(a.block_get(cid).await.unwrap(), [0xa0][..]);
    pin(&a, cid, PinMode::Recursive).await.unwrap();
}

#[tokio::test]
async fn paths_lead_into_folders() {
    let [dir] = dirs();
    let a = node(&dir).await;
    let data = random(1000);
    let file = add(&a, &data).await;
    let mut tree = Tree::default();
    tree.insert("sub/file", file).unwrap();
    tree.wrap(Attributes::default());
    let mut blocks = vec![];
    let folders = tree.finish(&raw_leaves(), &mut blocks).unwrap();
    a.block_put(blocks.into_iter().map(|b| (b.cid, b.data)).collect())
        .await
        .unwrap();
    let root = folders.last().unwrap().root.cid;
    let path = format!("/ipfs/{root}/sub/file");
    assert_eq!(a.resolve(path.clone()).await.unwrap(), file.cid);
    assert_eq!(read(&a, path).await, data);
    let error = a.cat(format!("/ipfs/{root}/sub")).await.err().unwrap();
    assert_eq!(error.to_string(), "this dag node is a directory");
    let error = a.resolve(format!("/ipfs/{root}/none")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no link named \"none\" under {root}")
    );
}

#[tokio::test]
async fn a_full_store_refuses_and_says_so() {
    let [dir] = dirs();
    let mut config = config(dir.path());
    config.storage_max = 100_000;
    let a = start(config, &real::env()).await.unwrap();
    let pieces = stream::iter([Ok(random(200_000))]).boxed();
    let error = a.add_file(&raw_leaves(), pieces).await.unwrap_err();
    assert!(
        error.to_string().starts_with("the IPFS store is full"),
        "{error}"
    );
}

#[tokio::test]
async fn connecting_tells_what_went_wrong() {
    let [dir] = dirs();
    let a = node(&dir).await;
    let nobody = format!(
        "/ip4/127.0.0.1/tcp/9/p2p/{}",
        "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
    );
    let error = a.swarm_connect(nobody).await.unwrap_err().to_string();
    assert!(
        error.starts_with("connect 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN failure: "),
        "{error}"
    );
    for bad in ["/zzz", "", "/ip4/127.0.0.1/tcp/9"] {
        assert!(
            matches!(
                a.swarm_connect(bad.into()).await,
                Err(IpfsError::Refused(_))
            ),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_folder_serves_one_node_of_its_format() {
    let [dir] = dirs();
    let a = node(&dir).await;
    let again = start(config(dir.path()), &real::env()).await;
    assert!(matches!(again, Err(EmbeddedError::InUse(_))), "{again:?}");
    stop(a).await;
    std::fs::write(dir.path().join("format"), "3").unwrap();
    let newer = start(config(dir.path()), &real::env()).await;
    assert!(
        matches!(newer, Err(EmbeddedError::Format { .. })),
        "{newer:?}"
    );
    std::fs::write(dir.path().join("format"), "1").unwrap();
    std::fs::write(dir.path().join("key"), "no key").unwrap();
    let bad_key = start(config(dir.path()), &real::env()).await;
    assert!(
        matches!(&bad_key, Err(EmbeddedError::Key { path, .. }) if path.ends_with("key")),
        "{bad_key:?}"
    );
}

#[tokio::test]
async fn a_taken_port_is_an_error_and_what_cannot_be_served_is_skipped() {
    let [here, there] = dirs();
    let a = node(&here).await;
    let address = a.addresses()[0].clone();
    let (listen, _) = address.split_once("/p2p/").unwrap();
    let mut config = config(there.path());
    config.listen = vec![listen.to_string()];
    let error = start(config.clone(), &real::env()).await.unwrap_err();
    assert!(
        matches!(error, EmbeddedError::Net(NetError::Listen { .. })),
        "{error}"
    );
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1".to_string();
    config.listen = vec![quic.clone()];
    let error = start(config.clone(), &real::env()).await.unwrap_err();
    assert!(
        matches!(error, EmbeddedError::Net(NetError::Listen { .. })),
        "{error}"
    );
    config.listen = vec![quic, "/ip4/127.0.0.1/tcp/0".into()];
    let b = start(config, &real::env()).await.unwrap();
    assert_eq!(b.addresses().len(), 1);
}

#[tokio::test]
async fn a_round_of_checks_brings_back_what_is_corrupt_or_missing() {
    let [here, there] = dirs();
    let (a, b) = (node(&here).await, node(&there).await);
    // Nine blocks: they do not all lie in one file.
    let root = add(&a, &random(2_000_000)).await;
    b.connect_to(&a.addresses());
    pin(&b, root.cid, PinMode::Recursive).await.unwrap();
    let files = block_files(&there);
    let mut corrupt = std::fs::read(&files[0]).unwrap();
    *corrupt.last_mut().unwrap() ^= 1;
    std::fs::write(&files[0], corrupt).unwrap();
    std::fs::remove_file(&files[1]).unwrap();
    let bad = async || {
        let checked: Vec<_> = b.check_pins().try_collect().await.unwrap();
        checked[0].bad.len()
    };
    assert_ne!(bad().await, 0);
    b.check_every(Duration::from_millis(20));
    // Nobody tells when a round is over.
    while bad().await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What was stored anew is there after a restart too.
    stop(b).await;
    let b = node(&there).await;
    let checked: Vec<_> = b.check_pins().try_collect().await.unwrap();
    assert_eq!(checked[0].bad, []);
}

#[tokio::test]
async fn what_is_corrupt_is_told_by_a_check_of_everything() {
    use crate::ipfs::Checked;
    let [dir] = dirs();
    let a = node(&dir).await;
    add(&a, &random(600_000)).await;
    let check = || async {
        let told = a.repo_verify().await.unwrap();
        let told: Vec<Checked> = told.try_collect().await.unwrap();
        let whole = told.iter().map(|c| match c {
            Checked::Whole(n) => *n,
            Checked::Corrupt(_) => 0,
        });
        let whole: u64 = whole.sum();
        let corrupt = told.iter().filter(|c| matches!(c, Checked::Corrupt(_)));
        (whole, corrupt.count())
    };
    assert_eq!(check().await, (4, 0));
    assert_eq!(held(&a).await, 4);
    let file = &block_files(&dir)[0];
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
    assert_eq!(check().await, (3, 1));
    assert_eq!(check().await, (3, 0), "it was moved aside");
}

#[tokio::test]
async fn a_shard_holds_what_it_lists_and_nothing_below() {
    let [here, there] = dirs();
    let (a, b) = (node(&here).await, node(&there).await);
    let root = add(&a, &random(600_000)).await;
    let list = shard_list::list(&[root.cid]).unwrap();
    a.block_put(vec![(list.cid, list.data)]).await.unwrap();
    b.connect_to(&a.addresses());
    let request = PinRequest {
        shard: true,
        ..pin_request(list.cid, PinMode::Recursive)
    };
    b.pin(request, Box::new(|_| {})).await.unwrap();
    assert_eq!(held(&b).await, 2);
    assert_eq!(pins(&b).await, [(list.cid, PinMode::Recursive)]);
    // Another block is garbage, the two are not; nor after a restart.
    stop(b).await;
    let b = node(&there).await;
    b.connect_to(&a.addresses());
    read(&b, root.cid.to_string()).await;
    assert_eq!(held(&b).await, 5);
    let removed: Vec<_> = b.collect().await.unwrap().try_collect().await.unwrap();
    assert_eq!((removed.len(), held(&b).await), (3, 2));
}

#[tokio::test]
async fn a_full_node_reads_what_it_cannot_keep_and_says_why_it_cannot_pin_it() {
    let [here, there] = dirs();
    let a = node(&here).await;
    let data = random(600_000);
    let root = add(&a, &data).await;
    let mut config = config(there.path());
    config.storage_max = 1000;
    let b = start(config, &real::env()).await.unwrap();
    b.connect_to(&a.addresses());
    assert!(read(&b, root.cid.to_string()).await == data);
    let error = pin(&b, root.cid, PinMode::Recursive).await.unwrap_err();
    assert!(
        error.to_string().contains("the IPFS store is full"),
        "{error}"
    );
    assert_eq!(pins(&b).await, []);
}
