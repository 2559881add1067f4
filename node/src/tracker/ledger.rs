//! Which pins on the IPFS node are the cluster's: those that were not there when the cluster
//! ordered them. All others are somebody else's and are never removed.
//!
//! A pin is entered, durably, before the IPFS node is told to pin it. Should the ledger be lost,
//! every pin found on the node counts as foreign: something may stay that could go, nothing goes
//! that must stay.
//!
//! On disk: a header that names the cluster, then records of 10 bytes (order 1 or forget 0, the
//! seq in big-endian, a checksum). A damaged end is what a crash leaves, and is written over. Behind
//! damage elsewhere the records count, and before it none does: it may have been the one that
//! forgot any of them. That is told in the log.

use ipfs_cluster_protocol::limits;
use std::{collections::BTreeMap, fmt, io, path::PathBuf, sync::Arc};

use ipfs_cluster_protocol::id::{ClusterId, Seq};
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use crate::env::{Disk, DiskFile, Env, Lane, OpenMode};

const MAGIC: &[u8; 8] = b"ipfclgr1";
const HEADER: usize = 8 + 16;
const RECORD: usize = 10;
/// Records above which the file is written anew at start, if most of them are settled.
const COMPACT_RECORDS: u64 = 4096;

/// The ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Ledger(Arc<Inner>);

struct Inner {
    lane: Lane,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// None after a failure: what a system says of an open file then is not to be relied on.
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    book: Mutex<Book>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, book) = (&self.path, &self.book);
        f.debug_struct("Inner")
            .field("path", path)
            .field("book", book)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Book {
    ours: RoaringTreemap,
    /// What the file does not say yet, or not durably. Kept until a sync has succeeded: after a
    /// failed one nobody knows what is on the disk, so all of it is written again.
    pending: BTreeMap<Seq, bool>,
    /// Where the durable records end.
    end: u64,
}

impl Ledger {
    /// Opens the ledger of a cluster; that of another cluster is left behind.
    pub(super) async fn open(env: &Env, path: PathBuf, cluster: ClusterId) -> io::Result<Self> {
        let lane = env.lanes.lane("ledger");
        let disk = env.disk.clone();
        let opened = (disk.clone(), path.clone());
        let (file, book) = lane.run(move || open(&*disk, &path, cluster)).await??;
        let (disk, path) = opened;
        Ok(Self(Arc::new(Inner {
            lane,
            disk,
            path,
            file: Mutex::new(Some(file)),
            book: Mutex::new(book),
        })))
    }

    /// Whether the cluster put this pin there.
    pub(super) fn is_ours(&self, seq: Seq) -> bool {
        self.0.book.lock().ours.contains(seq.0)
    }

    /// Enters a pin; durable at return. Calls made while another is being synced share the next
    /// sync. If it fails, the pin is not entered.
    pub(super) async fn order(&self, seq: Seq) -> io::Result<()> {
        {
            let mut book = self.0.book.lock();
            if book.ours.insert(seq.0) {
                book.pending.insert(seq, true);
            }
        }
        let synced = self.sync().await;
        if synced.is_err() {
            self.forget(seq);
        }
        synced
    }

    /// The pin is gone from the IPFS node. A crash may bring the entry back.
    pub(super) fn forget(&self, seq: Seq) {
        let mut book = self.0.book.lock();
        if book.ours.remove(seq.0) {
            book.pending.insert(seq, false);
        }
    }

    /// Forgets durably: whatever is pinned under this CID from now on is somebody else's.
    pub(super) async fn let_go(&self, seq: Seq) -> io::Result<()> {
        self.forget(seq);
        let waits = self.0.book.lock().pending.contains_key(&seq);
        if waits { self.sync().await } else { Ok(()) }
    }

    async fn sync(&self) -> io::Result<()> {
        let inner = self.0.clone();
        self.0.lane.run(move || inner.write()).await?
    }
}

impl Inner {
    /// Runs in the lane, so never twice at once.
    fn write(&self) -> io::Result<()> {
        let (pending, at) = {
            let book = self.book.lock();
            (book.pending.clone(), book.end)
        };
        if pending.is_empty() {
            return Ok(());
        }
        let records: Vec<u8> = pending
            .iter()
            .flat_map(|(seq, ordered)| record(*seq, *ordered))
            .collect();
        let file = self.file.lock().take();
        let file = match file {
            Some(file) => file,
            None => self.disk.open(&self.path, OpenMode::Write)?,
        };
        file.write_at(at, &records)?;
        file.sync()?;
        *self.file.lock() = Some(file);
        let mut book = self.book.lock();
        book.end += records.len() as u64;
        book.pending
            .retain(|seq, ordered| pending.get(seq) != Some(ordered));
        Ok(())
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
        disk.read(path, limits::LEDGER_BYTES_MAX)?
    } else {
        Vec::new()
    };
    let header = header(cluster);
    let mut book = Book::default();
    let mut damaged = false;
    if let Some(records) = bytes.strip_prefix(&header) {
        damaged = read(records, &mut book);
    }
    if damaged || !(bytes.is_empty() || bytes.starts_with(&header)) {
        tracing::warn!(
            path = %path.display(),
            "the ledger is damaged or another cluster's: pins that it does not name any more count \
             as somebody else's, and stay on the IPFS node when the cluster unpins them; remove \
             them there by hand"
        );
    }
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

/// Enters the records into an empty book; whether one is damaged that others follow.
fn read(records: &[u8], book: &mut Book) -> bool {
    let mut damaged = false;
    // Within damaged records: whether a hole is among them, as a write leaves that a crash has torn.
    let mut gap: Option<bool> = None;
    for (n, record) in (1..).zip(records.chunks_exact(RECORD)) {
        let Some((op, seq)) = parse(record) else {
            let hole = record.iter().all(|byte| *byte == 0);
            gap = Some(hole || gap.unwrap_or(false));
            continue;
        };
        match gap.take() {
            Some(true) => return damaged,
            Some(false) => {
                book.ours.clear();
                damaged = true;
            }
            None => {}
        }
        if op == 1 {
            book.ours.insert(seq);
        } else {
            book.ours.remove(seq);
        }
        book.end = n * RECORD as u64;
    }
    damaged
}

/// What a record says, if it is sound.
fn parse(record: &[u8]) -> Option<(u8, u64)> {
    let (body, sum) = record.split_at_checked(RECORD - 1)?;
    let (op, seq) = body.split_first()?;
    let seq = <[u8; 8]>::try_from(seq).ok()?;
    (sum == [checksum(body)] && *op <= 1).then_some((*op, u64::from_be_bytes(seq)))
}
