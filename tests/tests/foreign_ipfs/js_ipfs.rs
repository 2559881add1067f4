//! js-ipfs: its RPC is driven by the Kubo client.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use futures::TryStreamExt;
use ipfs_cluster_node::{
    env::{Addr, real},
    ipfs::{
        IpfsError, IpfsNode, PinRequest,
        kubo::{Kubo, KuboTimeouts},
    },
};
use ipfs_cluster_protocol::{
    content::{
        hash::HashFunction,
        options::{ChunkerSpec, ImportOptions, Layout},
    },
    id::Cid,
    pin::PinMode,
};
use ipfs_cluster_tests::{
    Cluster, Setup,
    foreign::installed,
    foreign_pins::{OwnersNode, survive_everything},
    http, random,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tempfile::TempDir;

use super::{add, embedded_node, free_port, import, pin, read};

/// Files whose CIDs are compared.
const FILES: usize = 60;
const SEED: u64 = 20_261_127;

/// The daemon; ends with its value.
struct Daemon {
    child: Child,
    rpc: u16,
    _repo: TempDir,
}

impl Daemon {
    fn client(&self) -> Kubo {
        let addr = Addr::Tcp("127.0.0.1".into(), self.rpc);
        Kubo::new(addr, &real::env(), KuboTimeouts::default())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the daemon; None where it is not installed and need not be.
fn daemon() -> Option<Daemon> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/js-ipfs");
    if !installed(
        &folder.join("node_modules"),
        "run `npm ci` in tests/peers/js-ipfs",
    ) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn js_ipfs_is_driven_and_exchanges_blocks_with_the_embedded_node() {
    let Some(daemon) = daemon() else { return };
    let folder = tempfile::tempdir().unwrap();
    let ours = embedded_node(folder.path()).await;
    let theirs = daemon.client();

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
    let data = Bytes::from(random(10_000_000));
    let root = add(&ours, &data).await;
    pin(&theirs, root).await;
    assert_eq!(
        theirs.pin_mode(root).await.unwrap(),
        Some(PinMode::Recursive)
    );
    assert!(read(&theirs, root).await == data);
    let pins: Vec<_> = theirs.pin_ls().await.unwrap().try_collect().await.unwrap();
    assert!(pins.contains(&(root, PinMode::Recursive)), "{pins:?}");
    theirs.unpin(root).await.unwrap();
    let again = theirs.unpin(root).await;
    assert!(matches!(again, Err(IpfsError::NotPinned)), "{again:?}");
    assert_eq!(theirs.pin_mode(root).await.unwrap(), None);

    // From the daemon to the embedded node.
    let data = Bytes::from(random(10_000_000));
    let (root, blocks) = import(&data, &ImportOptions::default());
    let (first, bytes) = blocks[0].clone();
    theirs.block_put(blocks).await.unwrap();
    assert_eq!(theirs.block_get(first).await.unwrap(), bytes);
    pin(&*ours, root.cid).await;
    assert!(read(&*ours, root.cid).await == data);
    ours.shutdown().await;
}

/// The daemon as its owner uses it.
struct Owners(Kubo);

impl OwnersNode for Owners {
    async fn pin_something(&self, mode: PinMode) -> Cid {
        let data = Bytes::from(random(50_000));
        let (root, blocks) = import(&data, &ImportOptions::default());
        self.0.block_put(blocks).await.unwrap();
        let request = PinRequest::new(root.cid, mode, "somebody's");
        self.0.pin(request, Box::new(|_| {})).await.unwrap();
        root.cid
    }

    async fn pinned(&self) -> Vec<(Cid, PinMode)> {
        let pins = self.0.pin_ls().await.unwrap();
        pins.try_collect().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_pins_survive_on_js_ipfs_whatever_happens_to_its_peer() {
    let Some(daemon) = daemon() else { return };
    let rpc = format!("/ip4/127.0.0.1/tcp/{}", daemon.rpc);
    let mut cluster = Cluster::start(Setup::of(2).with_node(2, &rpc)).await;
    let host = cluster.init().await;
    survive_everything(cluster, host, &Owners(daemon.client())).await;
}

/// Options at random, and how the RPC says them.
fn random_options(rng: &mut StdRng) -> (ImportOptions, String) {
    let mut options = ImportOptions::default();
    let size = rng.random_range(1_000..300_000);
    options.chunker = ChunkerSpec::Size(size);
    options.raw_leaves = rng.random_bool(0.5);
    let trickle = rng.random_bool(0.5);
    if trickle {
        options.layout = Layout::Trickle;
    }
    // It has no others.
    let hashes = ["sha2-256", "sha2-512"];
    let hash = *hashes.choose(rng).unwrap();
    options.naming.hash = HashFunction::by_name(hash).unwrap();
    let version = if hash == "sha2-256" {
        rng.random_range(0..2)
    } else {
        1
    };
    options.naming.version = version;
    let query = format!(
        "only-hash=true&chunker=size-{size}&raw-leaves={}&trickle={trickle}&hash={hash}&cid-version={version}",
        options.raw_leaves
    );
    (options, query)
}

#[tokio::test]
async fn plain_files_get_the_cids_of_js_ipfs() {
    let Some(daemon) = daemon() else { return };
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..FILES {
        let (options, query) = random_options(&mut rng);
        let data = Bytes::from(random(rng.random_range(0..900_000)));
        let theirs = http::ipfs_add(daemon.rpc, &query, &data).await;
        let theirs: Cid = theirs.parse().unwrap();
        let ours = import(&data, &options).0.cid;
        assert_eq!(theirs, ours, "{} bytes, {query}", data.len());
    }
}
