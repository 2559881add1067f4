//! Files that were cut or have flipped bits: a peer says which and what to do, or has lost nothing.
//! It never panics.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ipfs_cluster_tests::{
    Peer,
    cluster::loopback,
    hostile::{damage, luck},
    missing, random, until_status,
};
use tokio::task::JoinSet;

use crate::{add, alone, tell};

/// Pins of the peer whose files are damaged.
const PINS: usize = 40;
/// Peers that are tried at once.
const AT_ONCE: usize = 3;

/// A file, and how often it is damaged. Those that are read as a whole in less than a process have
/// loops of their own beside their code.
const FILES: [(&str, u64); 8] = [
    ("state/raft.redb", 6),
    ("state/state.redb", 6),
    ("state/meta.json", 3),
    ("state/ledger", 2),
    ("service.json", 3),
    ("identity.json", 3),
    ("ipfs/key", 2),
    ("ipfs/pins", 2),
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A stopped peer with pins; their CIDs.
async fn a_peer_with_pins(folder: &Path) -> BTreeSet<String> {
    let mut peer = alone(folder);
    peer.spawn(&[]);
    peer.ready().await;
    let mut cids = BTreeSet::new();
    for _ in 0..PINS {
        let cid = missing();
        let answer = peer.rest("POST", &format!("/pins/{cid}")).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        cids.insert(cid);
    }
    // One that its IPFS node has.
    let cid = add(&peer, "", &random(1000)).await;
    until_status(peer.rest_port(), &cid, "pinned", 1).await;
    cids.insert(cid);
    assert_eq!(peer.stop().await, Some(0));
    cids
}

/// One trial: a copy of the folder with one file damaged.
async fn trial(good: PathBuf, file: &'static str, seed: u64, cids: BTreeSet<String>) {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("peer");
    copy(&good, &folder);
    fs::remove_file(folder.join("peer.log")).unwrap();
    let path = folder.join(file);
    let bad = match seed {
        0 => Vec::new(),
        _ => damage(&fs::read(&path).unwrap(), &mut luck(seed)),
    };
    fs::write(&path, bad).unwrap();
    let mut peer = Peer::of("damaged", &folder, loopback("damaged"));
    let trial = format!("{file}, seed {seed}");
    peer.spawn(&[]);
    if let Err(code) = peer.ready_or_ended().await {
        let log = peer.log();
        assert!(!log.contains("panicked"), "{trial}: {log}");
        assert_eq!(code, Some(1), "{trial}: {log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.starts_with("error "), "{trial}: {log}");
        // A value of the configuration is named by its key.
        let named = match file {
            "service.json" => last.starts_with("error loading configurations: "),
            _ => last.contains(file),
        };
        let meta = file == "state/raft.redb" && last.contains("its log is missing");
        assert!(named || meta, "{trial}: {last}");
        return;
    }
    let answer = peer.rest("GET", "/allocations").await.unwrap();
    let pins = answer.items().unwrap();
    let found: BTreeSet<String> = pins
        .iter()
        .map(|pin| pin["cid"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        found == cids,
        "{trial}: {} pins: {}",
        found.len(),
        peer.log_tail()
    );
    peer.stop().await;
    let log = peer.log();
    assert!(!log.contains("panicked"), "{trial}: {log}");
}

#[test]
fn a_damaged_file_is_named_or_nothing_is_lost() {
    tell(async {
        let temp = tempfile::tempdir().unwrap();
        let good = temp.path().join("good");
        let cids = a_peer_with_pins(&good).await;
        let trials = FILES
            .iter()
            .flat_map(|(file, times)| (0..*times).map(move |seed| (*file, seed)));
        let mut running = JoinSet::new();
        for (file, seed) in trials {
            if running.len() == AT_ONCE {
                running.join_next().await.unwrap().unwrap();
            }
            running.spawn(trial(good.clone(), file, seed, cids.clone()));
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    });
}
