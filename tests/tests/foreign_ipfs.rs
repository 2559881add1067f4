//! Our IPFS code against a real foreign daemon, js-ipfs (`tests/peers/js-ipfs`): its RPC driven by the
//! Kubo client, and blocks exchanged over bitswap with the embedded node, in both directions.
//!
//! Skipped where Node.js or the daemon's packages are missing, unless `IPFS_CLUSTER_TESTS_FOREIGN` is
//! `required`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are tests")]

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_node::{
    env::{Addr, real},
    ipfs::{
        IpfsError, IpfsNode, PinRequest,
        embedded::{self, Embedded, EmbeddedConfig},
        kubo::{Kubo, KuboTimeouts},
    },
};
use ipfs_cluster_protocol::{
    content::{Block, Root, import::FileImport, options::ImportOptions},
    id::Cid,
    pin::PinMode,
};
use tempfile::TempDir;

/// The daemon; ends with its value.
struct Daemon {
    child: Child,
    rpc: u16,
    _repo: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts the daemon; None where it is not installed and need not be.
fn daemon() -> Option<Daemon> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/js-ipfs");
    let required = std::env::var("IPFS_CLUSTER_TESTS_FOREIGN").is_ok_and(|v| v == "required");
    if !folder.join("node_modules").exists() && !required {
        eprintln!("skipped: run `npm ci` in {}", folder.display());
        return None;
    }
    let repo = tempfile::tempdir().unwrap();
    let rpc = free_port();
    let mut child = Command::new("node")
        .arg(folder.join("daemon.mjs"))
        .arg(repo.path())
        .args([free_port().to_string(), rpc.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    while !line.contains("\"ready\":true") {
        line.clear();
        let read = output.read_line(&mut line).unwrap();
        assert!(read > 0, "the daemon ended before it was ready");
    }
    Some(Daemon {
        child,
        rpc,
        _repo: repo,
    })
}

async fn embedded_node(folder: &Path) -> Arc<Embedded> {
    let config = EmbeddedConfig {
        folder: folder.to_path_buf(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        storage_max: 1 << 30,
        pin_timeout: Duration::from_secs(60),
    };
    embedded::start(config, &real::env()).await.unwrap()
}

fn random(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
    bytes.into()
}

fn import(data: &Bytes) -> (Root, Vec<(Cid, Bytes)>) {
    let mut import = FileImport::new(&ImportOptions::default()).unwrap();
    let mut blocks: Vec<Block> = vec![];
    import.write(data.clone(), &mut blocks);
    let root = import.finish(&mut blocks);
    (root, blocks.into_iter().map(|b| (b.cid, b.data)).collect())
}

async fn pin(node: &dyn IpfsNode, cid: Cid) {
    let request = PinRequest {
        cid,
        mode: PinMode::Recursive,
        shard: false,
        name: "a name".into(),
        update_from: None,
        origins: vec![],
    };
    node.pin(request, Box::new(|_| {})).await.unwrap();
}

async fn read(node: &dyn IpfsNode, cid: Cid) -> Vec<u8> {
    let pieces = node.cat(format!("/ipfs/{cid}")).await.unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    pieces.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn js_ipfs_is_driven_and_exchanges_blocks_with_the_embedded_node() {
    let Some(daemon) = daemon() else { return };
    let folder = tempfile::tempdir().unwrap();
    let ours = embedded_node(folder.path()).await;
    let addr = Addr::Tcp("127.0.0.1".into(), daemon.rpc);
    let theirs = Kubo::new(addr, &real::env(), KuboTimeouts::default());

    let id = theirs.id().await.unwrap();
    assert!(
        id.addresses
            .iter()
            .any(|a| a.starts_with("/ip4/127.0.0.1/tcp/"))
    );
    assert!(!theirs.version().await.unwrap().is_empty());
    assert!(theirs.repo_stat().await.unwrap().storage_max > 0);
    let own = ours.addresses()[0].clone();
    theirs.swarm_connect(own).await.unwrap();
    assert!(theirs.swarm_peers().await.unwrap().contains(ours.peer_id()));

    // From the embedded node to the daemon.
    let data = random(10_000_000);
    let pieces = stream::iter([Ok(data.clone())]).boxed();
    let root = ours
        .add_file(&ImportOptions::default(), pieces)
        .await
        .unwrap();
    pin(&theirs, root.cid).await;
    assert_eq!(
        theirs.pin_mode(root.cid).await.unwrap(),
        Some(PinMode::Recursive)
    );
    assert!(read(&theirs, root.cid).await == data);
    let pins: Vec<_> = theirs.pin_ls().await.unwrap().try_collect().await.unwrap();
    assert!(pins.contains(&(root.cid, PinMode::Recursive)), "{pins:?}");
    theirs.unpin(root.cid).await.unwrap();
    let again = theirs.unpin(root.cid).await;
    assert!(matches!(again, Err(IpfsError::NotPinned)), "{again:?}");
    assert_eq!(theirs.pin_mode(root.cid).await.unwrap(), None);

    // From the daemon to the embedded node.
    let data = random(10_000_000);
    let (root, blocks) = import(&data);
    let (first, bytes) = blocks[0].clone();
    theirs.block_put(blocks).await.unwrap();
    assert_eq!(theirs.block_get(first).await.unwrap(), bytes);
    pin(&*ours, root.cid).await;
    assert!(read(&*ours, root.cid).await == data);
    ours.shutdown().await;
}
