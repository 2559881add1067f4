//! The pins of the node: a table in memory, and a file of changes that it is rebuilt from.
//!
//! The file is a sequence of frames, each one synced before the next is written: magic, length,
//! checksum, changes. So after a crash only the last frame can be broken, and is cut off. A broken
//! frame with a good one after it is damage, and is refused rather than read around: pins would be
//! lost in silence. Once most of the file is history it is written anew.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_cluster_protocol::{
    codec,
    id::Cid,
    limits::{PIN_FILE_BYTES_MAX, PIN_FRAME_BYTES_MAX},
    pin::PinMode,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::env::{Disk, DiskFile, Env, Lane, LaneClosed, OpenMode};

const MAGIC: &[u8; 4] = b"PINS";
/// Magic, length, checksum.
const HEAD: usize = 4 + 4 + 8;
/// A file below this is never written anew.
const COMPACT_FROM: u64 = 1024 * 1024;
/// Pins of one frame of a file written anew; a name is 255 characters at most.
const PINS_PER_FRAME: usize = 512;

/// Why the pins cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinsError {
    /// The disk said no.
    #[error("{}: {text}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The disk's words.
        text: String,
    },
    /// Damage within the file.
    #[error(
        "{} is damaged at byte {at}: {why}; restore the file, or remove it to start without pins",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// The node shuts down.
    #[error("the file of pins is closed")]
    Closed,
}

impl From<LaneClosed> for PinsError {
    fn from(_: LaneClosed) -> Self {
        Self::Closed
    }
}

/// One pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pinned {
    pub(super) mode: PinMode,
    pub(super) name: String,
    /// Recursive, but no further than the root's links. Files written before there were such pins
    /// have none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) shard: bool,
}

/// Which blocks of its DAG a pin holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The root.
    Root,
    /// The root and what it links to.
    Links,
    /// All.
    All,
}

impl Reach {
    pub(super) fn new(mode: PinMode, shard: bool) -> Self {
        match mode {
            PinMode::Direct => Self::Root,
            PinMode::Recursive if shard => Self::Links,
            PinMode::Recursive => Self::All,
        }
    }

    /// What it is called.
    pub(super) fn mode(self) -> PinMode {
        match self {
            Self::Root => PinMode::Direct,
            Self::Links | Self::All => PinMode::Recursive,
        }
    }
}

/// A line of the file: what a CID is from now on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Change(Cid, Option<Pinned>);

/// The table. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pins(Arc<Inner>);

struct Inner {
    lane: Lane,
    journal: Mutex<Journal>,
    table: Mutex<BTreeMap<Cid, Pinned>>,
    /// Changes that the next job in the lane takes together.
    waiting: Mutex<Vec<Waiting>>,
}

/// A change and who waits for it.
type Waiting = (Change, oneshot::Sender<Result<(), PinsError>>);

/// The file. Touched in its lane alone.
struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
    /// Its length when it was last written anew.
    compacted: u64,
    /// After a failed write nobody knows what the file holds: it is written anew before the next.
    broken: bool,
}

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pins").finish_non_exhaustive()
    }
}

impl Pins {
    /// Reads the file, or begins one.
    pub(super) async fn open(path: PathBuf, env: &Env) -> Result<Self, PinsError> {
        let lane = env.lanes.lane("ipfs-pins");
        let disk = env.disk.clone();
        let opened = lane.run(move || Journal::open(disk, path));
        let (journal, table) = opened.await??;
        Ok(Self(Arc::new(Inner {
            lane,
            journal: Mutex::new(journal),
            table: Mutex::new(table),
            waiting: Mutex::default(),
        })))
    }

    pub(super) fn get(&self, cid: &Cid) -> Option<Pinned> {
        self.0.table.lock().get(cid).cloned()
    }

    /// The next pins after `from` in the order of CIDs, at most `n`.
    pub(super) fn page(&self, from: Option<Cid>, n: usize) -> Vec<(Cid, Reach)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = from.map_or(Unbounded, Excluded);
        let table = self.0.table.lock();
        let page = table.range((start, Unbounded)).take(n);
        page.map(|(cid, pin)| (*cid, Reach::new(pin.mode, pin.shard)))
            .collect()
    }

    /// Pins there are.
    pub(super) fn len(&self) -> usize {
        self.0.table.lock().len()
    }

    /// Resolves when the changes so far are written.
    pub(super) async fn drain(&self) {
        // A closed lane writes nothing any more.
        let _ = self.0.lane.run(|| ()).await;
    }

    /// Pins or (None) unpins; durable at return. What others change meanwhile shares the sync.
    pub(super) async fn set(&self, cid: Cid, pin: Option<Pinned>) -> Result<(), PinsError> {
        let (tx, rx) = oneshot::channel();
        self.0.waiting.lock().push((Change(cid, pin), tx));
        let inner = self.0.clone();
        // The lane keeps the order: when this job has run, this change was written by it or before.
        self.0.lane.run(move || inner.write_waiting()).await?;
        rx.await.map_err(|_| PinsError::Closed)?
    }
}

impl Inner {
    fn write_waiting(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let (changes, waiters): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let result = self.write(&changes);
        for waiter in waiters {
            // Whoever gave up waiting does not need to know.
            let _ = waiter.send(result.clone());
        }
    }

    fn write(&self, changes: &[Change]) -> Result<(), PinsError> {
        let mut journal = self.journal.lock();
        for part in changes.chunks(PINS_PER_FRAME) {
            if journal.broken {
                journal.compact(&self.table.lock())?;
            }
            journal.append(part)?;
            apply(&mut self.table.lock(), part);
        }
        if journal.len > COMPACT_FROM && journal.len > 2 * journal.compacted {
            journal.compact(&self.table.lock())?;
        }
        Ok(())
    }
}

fn apply(table: &mut BTreeMap<Cid, Pinned>, changes: &[Change]) {
    for Change(cid, pin) in changes {
        match pin {
            Some(pin) => table.insert(*cid, pin.clone()),
            None => table.remove(cid),
        };
    }
}

fn frame(changes: &[Change]) -> Vec<u8> {
    let body = codec::encode(&changes);
    let mut out = Vec::with_capacity(HEAD + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&checksum(&body));
    out.extend_from_slice(&body);
    out
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&Sha256::digest(body)[..8]);
    out
}

/// The body of the whole frame at the start of `bytes`, if there is one.
fn parse_frame(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (magic, head) = head.split_first_chunk::<4>()?;
    let (len, sum) = head.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let body = rest.get(..len)?;
    (magic == MAGIC && len <= PIN_FRAME_BYTES_MAX && checksum(body) == sum).then_some(body)
}

impl Journal {
    fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
    ) -> Result<(Self, BTreeMap<Cid, Pinned>), PinsError> {
        let io_error = |e: &io::Error| PinsError::Io {
            path: path.clone(),
            text: e.to_string(),
        };
        let bytes = match disk.read(&path, PIN_FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => vec![],
            Err(e) => return Err(io_error(&e)),
        };
        let (table, good) = replay(&path, &bytes)?;
        let opened = disk.open(&path, OpenMode::Create).and_then(|file| {
            if good < bytes.len() {
                tracing::warn!(
                    path = %path.display(),
                    bytes = bytes.len() - good,
                    "cut off a change of pins that was being written when the node stopped"
                );
                file.set_len(good as u64)?;
            }
            file.sync()?;
            disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
            Ok(file)
        });
        let file = opened.map_err(|e| io_error(&e))?;
        let journal = Self {
            disk,
            path,
            file,
            len: good as u64,
            compacted: 0,
            broken: false,
        };
        Ok((journal, table))
    }

    fn io_error(&self, error: &io::Error) -> PinsError {
        PinsError::Io {
            path: self.path.clone(),
            text: error.to_string(),
        }
    }

    fn append(&mut self, changes: &[Change]) -> Result<(), PinsError> {
        let frame = frame(changes);
        let written = self.file.write_at(self.len, &frame);
        let synced = written.and_then(|()| self.file.sync());
        if let Err(e) = synced {
            self.broken = true;
            return Err(self.io_error(&e));
        }
        self.len += frame.len() as u64;
        Ok(())
    }

    /// Writes the table as a new file in place of the history.
    fn compact(&mut self, table: &BTreeMap<Cid, Pinned>) -> Result<(), PinsError> {
        let all: Vec<_> = table
            .iter()
            .map(|(c, p)| Change(*c, Some(p.clone())))
            .collect();
        let bytes: Vec<u8> = all.chunks(PINS_PER_FRAME).flat_map(frame).collect();
        let replaced = self.disk.write_atomic(&self.path, &bytes);
        let opened = replaced.and_then(|()| self.disk.open(&self.path, OpenMode::Write));
        match opened {
            Ok(file) => {
                self.file = file;
                self.len = bytes.len() as u64;
                self.compacted = self.len;
                self.broken = false;
                Ok(())
            }
            Err(e) => {
                // The open file may be the old one, under no name.
                self.broken = true;
                Err(self.io_error(&e))
            }
        }
    }
}

/// The table the file describes, and how many of its bytes are good.
fn replay(path: &Path, bytes: &[u8]) -> Result<(BTreeMap<Cid, Pinned>, usize), PinsError> {
    let mut table = BTreeMap::new();
    let mut at = 0;
    let damaged = |at: usize, why: String| PinsError::Damaged {
        path: path.to_path_buf(),
        at: at as u64,
        why,
    };
    while at < bytes.len() {
        let Some(body) = parse_frame(&bytes[at..]) else {
            let later = (at + 1..bytes.len()).find(|n| parse_frame(&bytes[*n..]).is_some());
            if let Some(later) = later {
                return Err(damaged(at, format!("a good frame follows at byte {later}")));
            }
            break;
        };
        let changes: Vec<Change> =
            codec::decode(body, PIN_FRAME_BYTES_MAX).map_err(|e| damaged(at, e.to_string()))?;
        apply(&mut table, &changes);
        at += HEAD + body.len();
    }
    Ok((table, at))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "tests damage the file behind the table's back"
    )]
    use ipfs_cluster_protocol::content::{RAW, hash::name_like};

    use super::*;
    use crate::env::real;

    fn cid(n: u32) -> Cid {
        name_like(1, RAW, 0x12, 32, &n.to_be_bytes()).unwrap()
    }

    fn pinned(mode: PinMode, name: &str) -> Pinned {
        Pinned {
            mode,
            name: name.into(),
            shard: false,
        }
    }

    async fn open(path: &Path) -> Result<Pins, PinsError> {
        Pins::open(path.to_path_buf(), &real::env()).await
    }

    #[tokio::test]
    async fn pins_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        let pins = open(&path).await.unwrap();
        let (a, b) = (pinned(PinMode::Recursive, "ä"), pinned(PinMode::Direct, ""));
        pins.set(cid(1), Some(a.clone())).await.unwrap();
        pins.set(cid(2), Some(b.clone())).await.unwrap();
        pins.set(cid(3), Some(a.clone())).await.unwrap();
        pins.set(cid(3), None).await.unwrap();
        drop(pins);
        let pins = open(&path).await.unwrap();
        assert_eq!(pins.get(&cid(1)), Some(a));
        assert_eq!(pins.get(&cid(2)), Some(b));
        assert_eq!(pins.get(&cid(3)), None);
        let first = pins.page(None, 1);
        let rest = pins.page(Some(first[0].0), 10);
        assert_eq!((first.len(), rest.len()), (1, 1));
    }

    #[tokio::test]
    async fn many_at_once_share_syncs_and_all_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        let pins = open(&path).await.unwrap();
        let all = (0..2000).map(|n| pins.set(cid(n), Some(pinned(PinMode::Direct, "n"))));
        futures::future::try_join_all(all).await.unwrap();
        drop(pins);
        assert_eq!(open(&path).await.unwrap().page(None, 9999).len(), 2000);
    }

    #[tokio::test]
    async fn a_torn_last_frame_is_cut_off_at_every_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        let pins = open(&path).await.unwrap();
        pins.set(cid(1), Some(pinned(PinMode::Direct, "one")))
            .await
            .unwrap();
        let keep = std::fs::read(&path).unwrap();
        pins.set(cid(2), Some(pinned(PinMode::Direct, "two")))
            .await
            .unwrap();
        drop(pins);
        let whole = std::fs::read(&path).unwrap();
        for len in keep.len()..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let pins = open(&path).await.unwrap();
            assert_eq!(pins.page(None, 9).len(), 1, "{len}");
            drop(pins);
            assert_eq!(std::fs::read(&path).unwrap(), keep);
        }
    }

    #[tokio::test]
    async fn damage_before_the_last_frame_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        let pins = open(&path).await.unwrap();
        for n in 0..2 {
            pins.set(cid(n), Some(pinned(PinMode::Direct, "x")))
                .await
                .unwrap();
        }
        drop(pins);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() / 2 {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            let error = open(&path).await.unwrap_err();
            assert!(
                matches!(error, PinsError::Damaged { at: 0, .. }),
                "{at}: {error}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "it is left as it was");
        }
    }

    #[tokio::test]
    async fn history_is_dropped_once_it_is_most_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        let pins = open(&path).await.unwrap();
        let name = "n".repeat(250);
        for _ in 0..12 {
            let set = (0..500).map(|n| pins.set(cid(n), Some(pinned(PinMode::Direct, &name))));
            futures::future::try_join_all(set).await.unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < 2 * COMPACT_FROM);
        pins.set(cid(7), None).await.unwrap();
        drop(pins);
        assert_eq!(open(&path).await.unwrap().page(None, 9999).len(), 499);
    }
}
