use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use ipfs_cluster_protocol::{
    content::{
        DAG_PB, RAW,
        dag_pb::{Link, Node},
        hash::{IDENTITY, name_like},
        options::{ChunkerSpec, ImportOptions},
    },
    id::{Cid, WideCid},
    pin::PinMode,
};
use tempfile::TempDir;

use super::super::{Embedded, EmbeddedConfig, start};
use crate::{
    env::real,
    ipfs::{IpfsError, IpfsNode, PinRequest},
};

async fn node(dir: &TempDir) -> std::sync::Arc<Embedded> {
    sized(dir, 1 << 30).await
}

async fn sized(dir: &TempDir, storage_max: u64) -> std::sync::Arc<Embedded> {
    let config = EmbeddedConfig {
        storage_max,
        pin_timeout: Duration::from_secs(5),
        ..EmbeddedConfig::on_loopback(dir.path())
    };
    start(config, &real::env()).await.unwrap()
}

/// Adds a file of many blocks, some of them the same as another file's.
async fn add(node: &Embedded, seed: u8) -> Cid {
    let options = ImportOptions {
        chunker: ChunkerSpec::Size(100),
        ..ImportOptions::default()
    };
    let bytes: Vec<u8> = (0..50_000u32)
        .map(|n| (n / 100) as u8 ^ (seed * ((n / 25_000) as u8)))
        .collect();
    let pieces = futures::stream::iter([Ok(Bytes::from(bytes))]);
    let root = node.add_file(&options, Box::pin(pieces)).await.unwrap();
    root.cid
}

async fn pin(node: &Embedded, cid: Cid, mode: PinMode) {
    let request = PinRequest::new(cid, mode, "");
    node.pin(request, Box::new(|_| {})).await.unwrap();
}

async fn collect(node: &Embedded) -> Result<Vec<Cid>, IpfsError> {
    node.collect().await?.try_collect().await
}

async fn used(node: &Embedded) -> u64 {
    node.repo_stat().await.unwrap().repo_size
}

#[tokio::test]
async fn what_is_unpinned_goes_and_what_is_pinned_stays() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(&dir).await;
    let kept = add(&a, 1).await;
    pin(&a, kept, PinMode::Recursive).await;
    let only_kept = used(&a).await;
    let gone = add(&a, 2).await;
    pin(&a, gone, PinMode::Recursive).await;
    let both = used(&a).await;
    assert_eq!(collect(&a).await.unwrap(), []);
    a.unpin(gone).await.unwrap();
    let removed = collect(&a).await.unwrap();
    assert!(!removed.is_empty() && used(&a).await == only_kept && both > only_kept);
    // The files share half of their blocks: those are still there.
    let bytes: Vec<Bytes> = a
        .cat(format!("/ipfs/{kept}"))
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(bytes.concat().len(), 50_000);
    assert!(removed.iter().any(|cid| cid.0.hash() == gone.0.hash()));
    a.unpin(kept).await.unwrap();
    collect(&a).await.unwrap();
    assert_eq!(used(&a).await, 0);
}

#[tokio::test]
async fn an_add_under_way_keeps_its_blocks_and_a_direct_pin_its_one() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(&dir).await;
    let file = add(&a, 1).await;
    let before = used(&a).await;
    assert_eq!(collect(&a).await.unwrap(), []);
    pin(&a, file, PinMode::Recursive).await;
    assert_eq!(used(&a).await, before);
    a.unpin(file).await.unwrap();
    pin(&a, file, PinMode::Direct).await;
    collect(&a).await.unwrap();
    let root = a.block_get(file).await.unwrap();
    assert_eq!(used(&a).await, root.len() as u64);
}

#[tokio::test]
async fn a_restart_forgets_adds_that_were_broken_off() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(&dir).await;
    add(&a, 1).await;
    a.shutdown().await;
    drop(a);
    let a = node(&dir).await;
    assert!(!collect(&a).await.unwrap().is_empty());
    assert_eq!(used(&a).await, 0);
}

#[tokio::test]
async fn a_pin_that_is_not_whole_stops_the_collection() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(&dir).await;
    let file = add(&a, 1).await;
    pin(&a, file, PinMode::Recursive).await;
    // As after a damaged disk: the block below the root is gone.
    let root = Node::decode(&a.block_get(file).await.unwrap()).unwrap();
    a.lose(&root.links[0].cid);
    let error = collect(&a).await.unwrap_err().to_string();
    assert!(
        error.contains(&file.to_string()) && error.contains("missing"),
        "{error}"
    );
    a.unpin(file).await.unwrap();
    collect(&a).await.unwrap();
}

/// The CID of a node over other blocks, and the node.
fn over(links: &[Cid], code: u64) -> (Cid, Bytes) {
    let links = links.iter().map(|cid| Link {
        cid: *cid,
        name: b"the same name".to_vec(),
        dag_size: 5,
    });
    let node = Node {
        links: links.collect(),
        data: Some(vec![8, 1]),
    };
    let data = Bytes::from(node.encode());
    (name_like(1, DAG_PB, code, 32, &data).unwrap(), data)
}

#[tokio::test]
async fn what_names_that_end_alike_link_to_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(&dir).await;
    let leaf = |data: &'static [u8]| {
        let data = Bytes::from_static(data);
        (name_like(1, RAW, 0x12, 32, &data).unwrap(), data)
    };
    let leaves = [leaf(b"first"), leaf(b"other")];
    a.block_put(leaves.to_vec()).await.unwrap();
    // Carried by their names, which differ in the middle alone.
    let nodes = leaves.each_ref().map(|(cid, _)| over(&[*cid], IDENTITY).0);
    let root = over(&nodes, 0x12);
    a.block_put(vec![root.clone()]).await.unwrap();
    pin(&a, root.0, PinMode::Recursive).await;
    assert_eq!(collect(&a).await.unwrap(), []);
    for (cid, data) in leaves {
        assert_eq!(a.block_get(cid).await.unwrap(), data);
    }
}

#[tokio::test]
async fn a_block_that_is_linked_as_bytes_and_as_a_node_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(&dir).await;
    let data = Bytes::from_static(b"leaf");
    let leaf = name_like(1, RAW, 0x12, 32, &data).unwrap();
    let inner = over(&[leaf], 0x12);
    let bytes = Cid(WideCid::new_v1(RAW, *inner.0.0.hash()));
    // Links are followed from the first to the last.
    for order in [[bytes, inner.0], [inner.0, bytes]] {
        let root = over(&order, 0x12);
        let blocks = vec![(leaf, data.clone()), inner.clone(), root.clone()];
        a.block_put(blocks).await.unwrap();
        pin(&a, root.0, PinMode::Recursive).await;
        collect(&a).await.unwrap();
        assert_eq!(a.store.get(&leaf).await.unwrap(), Some(data.clone()));
        a.unpin(root.0).await.unwrap();
    }
}

#[tokio::test]
async fn one_collects_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let a = node(&dir).await;
    let first = a.collect().await.unwrap();
    let error = a.collect().await.err().unwrap().to_string();
    assert_eq!(error, "garbage is being collected already");
    drop(first);
    collect(&a).await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_nearly_full_is_tidied_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let a = sized(&dir, 400_000).await;
    let block = |n: u32| {
        let data = Bytes::from(vec![n as u8; 100_000]);
        let cid = name_like(1, 0x55, 0x12, 32, &data);
        (cid.unwrap(), data)
    };
    // Unpinned again: garbage from then on.
    for n in 0..3 {
        let (cid, data) = block(n);
        a.block_put(vec![(cid, data)]).await.unwrap();
        pin(&a, cid, PinMode::Recursive).await;
        a.unpin(cid).await.unwrap();
    }
    assert_eq!(used(&a).await, 300_000);
    let (cid, data) = block(3);
    a.block_put(vec![(cid, data)]).await.unwrap();
    pin(&a, cid, PinMode::Recursive).await;
    // Nobody tells when that is over.
    while used(&a).await > 320_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(a.block_get(cid).await.unwrap().len(), 100_000);
}
