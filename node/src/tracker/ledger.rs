//! Which pins on the IPFS node are the cluster's: those that were not there when the cluster
//! ordered them. All others are somebody else's and are never removed.
//!
//! A pin is entered, durably, before the IPFS node is told to pin it. Should the ledger be lost,
//! every pin found on the node counts as foreign: something may stay that could go, nothing goes
//! that must stay.
//!
//! On disk: a header that names the cluster, then records of 10 bytes (order 1 or forget 0, the
//! seq in big-endian, a checksum). What follows a damaged record is ignored and written over.

use std::{io, path::PathBuf, sync::Arc};

use ipfs_cluster_protocol::id::{ClusterId, Seq};
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use crate::env::{Disk, DiskFile, Env, Lane, OpenMode};

const MAGIC: &[u8; 8] = b"ipfclgr1";
const HEADER: usize = 8 + 16;
const RECORD: usize = 10;
/// Records above which the file is written anew at start, if most of them are settled.
const COMPACT_RECORDS: u64 = 4096;
/// Bytes of the file that are read at most: 10 million pins ordered and forgotten ten times over.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// The ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lane: Lane,
    file: Arc<dyn DiskFile>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    ours: RoaringTreemap,
    /// Records that are in the book and not yet in the file.
    pending: Vec<u8>,
    end: u64,
}

impl Ledger {
    /// Opens the ledger of a cluster; that of another cluster is left behind.
    pub(super) async fn open(env: &Env, path: PathBuf, cluster: ClusterId) -> io::Result<Self> {
        let lane = env.lanes.lane("ledger");
        let disk = env.disk.clone();
        let (file, book) = lane.run(move || open(&*disk, &path, cluster)).await??;
        Ok(Self(Arc::new(Inner {
            lane,
            file,
            book: Mutex::new(book),
        })))
    }

    /// Whether the cluster put this pin there.
    pub(super) fn is_ours(&self, seq: Seq) -> bool {
        self.0.book.lock().ours.contains(seq.0)
    }

    /// Enters a pin; durable at return. Calls made while another is being synced share the next
    /// sync.
    pub(super) async fn order(&self, seq: Seq) -> io::Result<()> {
        self.enter(seq, true);
        self.sync().await
    }

    /// The pin is gone from the IPFS node. It need not be durable: entered twice does no harm.
    pub(super) fn forget(&self, seq: Seq) {
        if self.is_ours(seq) {
            self.enter(seq, false);
        }
    }

    fn enter(&self, seq: Seq, ordered: bool) {
        let mut book = self.0.book.lock();
        if ordered {
            book.ours.insert(seq.0);
        } else {
            book.ours.remove(seq.0);
        }
        let record = record(seq, ordered);
        book.pending.extend_from_slice(&record);
    }

    async fn sync(&self) -> io::Result<()> {
        let inner = self.0.clone();
        self.0.lane.run(move || inner.write()).await?
    }
}

impl Inner {
    fn write(&self) -> io::Result<()> {
        let (pending, at) = {
            let mut book = self.book.lock();
            (std::mem::take(&mut book.pending), book.end)
        };
        if !pending.is_empty() {
            if let Err(e) = self.file.write_at(at, &pending) {
                // Kept for the next try, in front of what came meanwhile.
                let mut book = self.book.lock();
                let later = std::mem::replace(&mut book.pending, pending);
                book.pending.extend_from_slice(&later);
                return Err(e);
            }
            self.book.lock().end += pending.len() as u64;
        }
        self.file.sync()
    }
}

fn record(seq: Seq, ordered: bool) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0] = u8::from(ordered);
    record[1..9].copy_from_slice(&seq.0.to_be_bytes());
    record[9] = checksum(&record[..9]);
    record
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0x5a, |sum: u8, byte| {
        sum.rotate_left(3) ^ byte.wrapping_mul(31)
    })
}

fn header(cluster: ClusterId) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..].copy_from_slice(&cluster.0);
    header
}

fn open(
    disk: &dyn Disk,
    path: &std::path::Path,
    cluster: ClusterId,
) -> io::Result<(Arc<dyn DiskFile>, Book)> {
    let bytes = if disk.exists(path) {
        disk.read(path, FILE_BYTES_MAX)?
    } else {
        Vec::new()
    };
    let header = header(cluster);
    let mut book = match bytes.strip_prefix(&header) {
        Some(records) => read(records),
        None => Book::default(),
    };
    let records = book.end / RECORD as u64;
    if !bytes.starts_with(&header) || records > COMPACT_RECORDS.max(4 * book.ours.len()) {
        let mut fresh = header.to_vec();
        for seq in &book.ours {
            fresh.extend_from_slice(&record(Seq(seq), true));
        }
        disk.write_atomic(path, &fresh)?;
        book.end = fresh.len() as u64;
    } else {
        book.end += HEADER as u64;
    }
    let file = disk.open(path, OpenMode::Write)?;
    // What follows a damaged record must not be taken for valid later.
    file.set_len(book.end)?;
    file.sync()?;
    Ok((file, book))
}

fn read(records: &[u8]) -> Book {
    let mut book = Book::default();
    for record in records.chunks_exact(RECORD) {
        let (body, sum) = record.split_at(RECORD - 1);
        let Some((op, seq)) = body.split_first() else {
            break;
        };
        let Ok(seq) = <[u8; 8]>::try_from(seq) else {
            break;
        };
        if sum != [checksum(body)] || *op > 1 {
            break;
        }
        let seq = u64::from_be_bytes(seq);
        if *op == 1 {
            book.ours.insert(seq);
        } else {
            book.ours.remove(seq);
        }
        book.end += RECORD as u64;
    }
    book
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::real;

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
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes.extend_from_slice(b"torn");
        std::fs::write(&path, bytes).unwrap();
        let again = Ledger::open(&env, path, CLUSTER).await.unwrap();
        assert!(again.is_ours(Seq(1)) && !again.is_ours(Seq(2)));
    }
}
