//! The ledger on real files, and on a disk that fails.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ipfs_cluster_protocol::id::{ClusterId, Seq};

use crate::{
    env::{DirEntry, Disk, DiskFile, Env, OpenMode, Space, real},
    tracker::ledger::Ledger,
};

const CLUSTER: ClusterId = ClusterId([7; 16]);

#[tokio::test]
async fn what_was_ordered_is_remembered_and_another_cluster_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let path = dir.path().join("ledger");
    let ledger = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
    ledger.order(Seq(5)).await.unwrap();
    ledger.order(Seq(9)).await.unwrap();
    ledger.forget(Seq(5));
    ledger.order(Seq(11)).await.unwrap();
    drop(ledger);
    let again = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
    assert_eq!(
        [5, 9, 11].map(|n| again.is_ours(Seq(n))),
        [false, true, true]
    );
    drop(again);
    let other = Ledger::open(&env, path, ClusterId([8; 16])).await.unwrap();
    assert!(!other.is_ours(Seq(9)));
}

#[tokio::test]
async fn a_damaged_tail_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let path = dir.path().join("ledger");
    let ledger = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
    ledger.order(Seq(1)).await.unwrap();
    ledger.order(Seq(2)).await.unwrap();
    drop(ledger);
    let mut bytes = real::env().disk.read(&path, 1 << 20).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.extend_from_slice(b"torn");
    real::env().disk.write_atomic(&path, &bytes).unwrap();
    let again = Ledger::open(&env, path, CLUSTER).await.unwrap();
    assert!(again.is_ours(Seq(1)) && !again.is_ours(Seq(2)));
}

#[tokio::test]
async fn a_flipped_bit_anywhere_makes_nothing_the_clusters_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let path = dir.path().join("ledger");
    let ledger = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
    for n in 1..=6 {
        ledger.order(Seq(n)).await.unwrap();
    }
    for n in [1, 4] {
        ledger.let_go(Seq(n)).await.unwrap();
    }
    ledger.order(Seq(7)).await.unwrap();
    drop(ledger);
    let good = env.disk.read(&path, 1 << 20).unwrap();
    let mut kept = 0;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        env.disk.write_atomic(&path, &bad).unwrap();
        let again = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
        assert!(
            !again.is_ours(Seq(1)) && !again.is_ours(Seq(4)),
            "bit {bit}"
        );
        kept += u32::from(again.is_ours(Seq(7)));
        // What is entered from now on is safe again.
        again.order(Seq(9)).await.unwrap();
        drop(again);
        let again = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
        assert!(again.is_ours(Seq(9)), "bit {bit}");
        assert!(
            !again.is_ours(Seq(1)) && !again.is_ours(Seq(4)),
            "bit {bit}"
        );
    }
    assert!(kept > 0);
}

#[tokio::test]
async fn what_a_crash_has_torn_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let path = dir.path().join("ledger");
    let ledger = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
    ledger.order(Seq(1)).await.unwrap();
    let synced = env.disk.read(&path, 1 << 20).unwrap().len();
    for n in 2..200 {
        ledger.order(Seq(n)).await.unwrap();
    }
    drop(ledger);
    let mut bytes = env.disk.read(&path, 1 << 20).unwrap();
    bytes[synced..synced + 512].fill(0);
    env.disk.write_atomic(&path, &bytes).unwrap();
    let again = Ledger::open(&env, path, CLUSTER).await.unwrap();
    assert!(again.is_ours(Seq(1)) && !again.is_ours(Seq(199)));
}

/// Writes reach the file; while `broken`, no sync succeeds, and never again after that until the
/// file is opened anew.
#[derive(Debug)]
struct Unsynced {
    file: Arc<dyn DiskFile>,
    broken: Arc<AtomicBool>,
    spoilt: AtomicBool,
}

impl DiskFile for Unsynced {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            // What a failed sync leaves: the page is dropped, and nobody is told again.
            return Ok(());
        }
        self.file.write_at(offset, data)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            self.spoilt.store(true, Ordering::SeqCst);
        }
        if self.spoilt.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.file.sync()
    }
}

struct BadDisk {
    disk: Arc<dyn Disk>,
    broken: Arc<AtomicBool>,
}

impl Disk for BadDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let (file, broken) = (self.disk.open(path, mode)?, self.broken.clone());
        Ok(Arc::new(Unsynced {
            file,
            broken,
            spoilt: AtomicBool::new(false),
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }
}

fn bad_env() -> (Env, Arc<AtomicBool>) {
    let mut env = real::env();
    let broken = Arc::new(AtomicBool::new(false));
    env.disk = Arc::new(BadDisk {
        disk: env.disk.clone(),
        broken: broken.clone(),
    });
    (env, broken)
}

#[tokio::test]
async fn nothing_is_durable_before_what_failed_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (env, broken) = bad_env();
    let ledger = Ledger::open(&env, path.clone(), CLUSTER).await.unwrap();
    ledger.order(Seq(1)).await.unwrap();
    ledger.order(Seq(2)).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    assert!(ledger.order(Seq(3)).await.is_err());
    assert!(
        !ledger.is_ours(Seq(3)),
        "an order that failed orders nothing"
    );
    assert!(ledger.let_go(Seq(1)).await.is_err());
    assert!(
        ledger.let_go(Seq(1)).await.is_err(),
        "it fails until synced"
    );
    broken.store(false, Ordering::SeqCst);
    ledger.let_go(Seq(1)).await.unwrap();
    ledger.order(Seq(3)).await.unwrap();
    drop(ledger);
    let again = Ledger::open(&env, path, CLUSTER).await.unwrap();
    assert_eq!(
        [1, 2, 3].map(|n| again.is_ours(Seq(n))),
        [false, true, true]
    );
}
