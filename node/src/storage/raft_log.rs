//! The log of this peer: `raft.redb`.
//!
//! Every commit is synced. What is given while one commit is being synced goes into the next, in the
//! order it was given; the recent end of the log also stays in memory, so replication does not read
//! the file. What the rows mean is the consensus' business.

use ipfs_cluster_protocol::{
    limits,
    mutation::{Mutation, planted},
};
use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};
use tracing::error;

use crate::{
    env::{Env, Lane},
    stage::Spent,
};

use super::{backend::DbFile, error::OpenError};

mod commit;
mod file;
mod tail;

use file::LogFile;
use tail::Tail;

/// Memory for pages of the file: what is read again and again is its end, which `Tail` has.
const CACHE_BYTES: usize = 4 << 20;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogRecord {
    /// Its place.
    pub(crate) index: u64,
    /// The term of the leader that made it.
    pub(crate) term: u64,
    /// What the body is.
    pub(crate) kind: u8,
    /// Encoded by the consensus.
    pub(crate) body: Bytes,
}

/// Small values kept beside the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// The vote.
    Vote,
    /// The last log id known to be committed.
    Committed,
    /// The last log id that was purged.
    Purged,
    /// Who this peer is.
    Identity,
    /// How often it was started.
    Boot,
    /// The highest epoch of its cluster that it has heard of.
    HeardEpoch,
}

/// What the file held when it was opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogRecovered {
    /// See [`Slot::Vote`].
    pub(crate) vote: Option<Bytes>,
    /// See [`Slot::Committed`].
    pub(crate) committed: Option<Bytes>,
    /// See [`Slot::Purged`].
    pub(crate) purged: Option<Bytes>,
    /// See [`Slot::Identity`].
    pub(crate) identity: Option<Bytes>,
    /// See [`Slot::Boot`].
    pub(crate) boot: Option<Bytes>,
    /// See [`Slot::HeardEpoch`].
    pub(crate) heard_epoch: Option<Bytes>,
    /// The last entry.
    pub(crate) last: Option<LogRecord>,
}

/// Called with what became of an append.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A change that waits to be committed.
enum Op {
    Append(Vec<LogRecord>),
    /// Remove entries from this index on.
    Truncate(u64),
    /// Remove entries up to this index.
    Purge(u64),
    Set(Slot, Bytes),
}

#[derive(Default)]
struct Queue {
    ops: Vec<Op>,
    done: Vec<Done>,
    bytes: usize,
    /// Rides in the next commit, whatever that is for.
    committed: Option<Bytes>,
    /// The file failed: nothing is taken any more.
    failed: Option<String>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer.
    waiting: Notify,
    /// Bytes in the queue.
    queued: watch::Sender<usize>,
    tail: Mutex<Tail>,
    file: Arc<LogFile>,
    write_lane: Lane,
    read_lane: Lane,
}

/// The log of this peer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RaftLog {
    shared: Arc<Shared>,
    _writer: Arc<Writer>,
}

impl std::fmt::Debug for RaftLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RaftLog")
    }
}

struct Writer(JoinHandle<()>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RaftLog {
    /// Opens the log file, making an empty one when it is missing, and checks all of its rows.
    pub(crate) async fn open(env: &Env, path: PathBuf) -> Result<(Self, LogRecovered), OpenError> {
        let write_lane = env.lanes.lane("log-write");
        let disk = env.disk.clone();
        let (file, tail, recovered) = write_lane
            .run(move || {
                let file = DbFile {
                    path,
                    cache_bytes: CACHE_BYTES,
                    verify_bytes_max: limits::RAFT_LOG_VERIFY_BYTES_MAX,
                };
                LogFile::open(&*disk, &file)
            })
            .await??;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            waiting: Notify::new(),
            queued: watch::Sender::default(),
            tail: Mutex::new(tail),
            file: Arc::new(file),
            write_lane,
            read_lane: env.lanes.lane("log-read"),
        });
        let writer = tokio::spawn(write(shared.clone()));
        let log = Self {
            shared,
            _writer: Arc::new(Writer(writer)),
        };
        Ok((log, recovered))
    }

    /// Appends entries; `done` is called once they are synced. Waits only while too much waits.
    pub(crate) async fn append(&self, records: Vec<LogRecord>, done: Done) -> io::Result<()> {
        let mut queued = self.shared.queued.subscribe();
        // The writer ends only with the last handle on the log, so the sender is there.
        let _ = queued
            .wait_for(|bytes| *bytes < limits::RAFT_LOG_QUEUE_BYTES_MAX)
            .await;
        self.shared.tail.lock().append(&records);
        if planted(Mutation::AppendAckedBeforeFsync) {
            done(Ok(()));
            return self.submit([Op::Append(records)], Some(Box::new(|_| {})));
        }
        self.submit([Op::Append(records)], Some(done))
    }

    /// Sets a slot, durable at return.
    pub(crate) async fn set(&self, slot: Slot, value: Bytes) -> io::Result<()> {
        self.commit([Op::Set(slot, value)]).await
    }

    /// Lets the committed id ride in the next commit.
    pub(crate) fn note_committed(&self, value: Bytes) {
        self.shared.queue.lock().committed = Some(value);
    }

    /// Removes the entries from `first` on, durable at return.
    pub(crate) async fn truncate_from(&self, first: u64) -> io::Result<()> {
        self.shared.tail.lock().truncate_from(first);
        if !planted(Mutation::TruncateNotWritten) {
            self.commit([Op::Truncate(first)]).await?;
        }
        // The term of what is now the last entry, when memory does not have it.
        let (first, next, known) = {
            let mut tail = self.shared.tail.lock();
            let known = tail.newest().map(|r| r.term);
            if let Some(term) = known {
                tail.set_last_term(term);
            }
            let (first, next) = tail.bounds();
            (first, next, known.is_some())
        };
        if !known && next > first {
            let last = self.read(next - 1, next, 0).await?;
            if let Some(last) = last.first() {
                self.shared.tail.lock().set_last_term(last.term);
            }
        }
        Ok(())
    }

    /// Removes the entries up to `last`; `id` says which that was. Durable at return, as far as
    /// readers can tell; rows are cleaned up with later commits.
    pub(crate) async fn purge(&self, last: u64, id: Bytes) -> io::Result<()> {
        self.shared.tail.lock().purge(last);
        self.commit([Op::Purge(last), Op::Set(Slot::Purged, id)])
            .await
    }

    /// Time spent in writing rows, and in making them durable.
    pub(crate) fn spent(&self) -> (Spent, Spent) {
        let file = &self.shared.file;
        (file.appending.spent(), file.syncing.spent())
    }

    /// Closes the file after what was given before is synced; later calls fail.
    pub(crate) async fn close(&self) -> io::Result<()> {
        // Nothing is written by it but what waits.
        let flushed = self.commit([]).await;
        let file = self.shared.file.clone();
        let closed = self.shared.write_lane.run(move || file.close()).await?;
        closed.map_err(|e| io::Error::other(e.0))?;
        flushed
    }

    /// The last entry, if there is one.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.shared.tail.lock().last()
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.tail.lock().log_bytes()
    }

    /// The smallest index so that the entries after it take at most `bytes`.
    pub(crate) fn keep_after(&self, bytes: u64) -> Option<u64> {
        self.shared.tail.lock().keep_after(bytes)
    }

    /// Entries from `from` up to `to` (exclusive): at least one if there is one, then as many as
    /// stay within `bytes_max`.
    pub(crate) async fn read(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<LogRecord>> {
        let (from, to) = {
            let tail = self.shared.tail.lock();
            let (first, next) = tail.bounds();
            let (from, to) = (from.max(first), to.min(next));
            if from >= to {
                return Ok(Vec::new());
            }
            if let Some(found) = tail.read(from, to, bytes_max) {
                return Ok(found);
            }
            // Only what is not in memory is asked of the file: it may lag behind the queue.
            (from, to.min(tail.kept_from()))
        };
        let file = self.shared.file.clone();
        self.shared
            .read_lane
            .run(move || file.read(from, to, bytes_max))
            .await?
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.0))
    }

    /// What a recovery changes, in one commit: what the state holds beyond the log's end is purged
    /// (`id` says up to where), entries follow, and slots. Durable at return. Only while nothing
    /// else uses the log.
    pub(crate) async fn rewrite(
        &self,
        purge: Option<(u64, Bytes)>,
        records: Vec<LogRecord>,
        slots: Vec<(Slot, Bytes)>,
    ) -> io::Result<()> {
        let mut ops = Vec::new();
        {
            let mut tail = self.shared.tail.lock();
            if let Some((last, id)) = purge {
                tail.purge(last);
                ops.extend([Op::Purge(last), Op::Set(Slot::Purged, id)]);
            }
            tail.append(&records);
        }
        ops.push(Op::Append(records));
        ops.extend(slots.into_iter().map(|(slot, value)| Op::Set(slot, value)));
        self.commit(ops).await
    }

    async fn commit(&self, ops: impl IntoIterator<Item = Op>) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.submit(
            ops,
            Some(Box::new(move |result| {
                let _ = tx.send(result);
            })),
        )?;
        rx.await
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn submit(&self, ops: impl IntoIterator<Item = Op>, done: Option<Done>) -> io::Result<()> {
        let bytes = {
            let mut queue = self.shared.queue.lock();
            if let Some(failed) = &queue.failed {
                return Err(io::Error::other(failed.clone()));
            }
            for op in ops {
                if let Op::Append(records) = &op {
                    queue.bytes += records.iter().map(|r| r.body.len()).sum::<usize>();
                }
                queue.ops.push(op);
            }
            queue.done.extend(done);
            queue.bytes
        };
        self.shared.queued.send_replace(bytes);
        self.shared.waiting.notify_one();
        Ok(())
    }
}

/// The writer: all that waits becomes one commit.
async fn write(shared: Arc<Shared>) {
    loop {
        let (ops, done, committed) = {
            let mut queue = shared.queue.lock();
            queue.bytes = 0;
            let ops = std::mem::take(&mut queue.ops);
            let done = std::mem::take(&mut queue.done);
            let committed = queue.committed.take_if(|_| !done.is_empty());
            (ops, done, committed)
        };
        shared.queued.send_replace(0);
        if done.is_empty() && !shared.file.has_garbage() {
            shared.waiting.notified().await;
            continue;
        }
        let synced = ops.iter().rev().find_map(|op| match op {
            Op::Append(records) => records.last().map(|r| r.index),
            _ => None,
        });
        let file = shared.file.clone();
        let result = shared
            .write_lane
            .run(move || file.commit(ops, committed))
            .await;
        let result = match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(e.0),
            Err(closed) => Err(closed.to_string()),
        };
        if let Some(synced) = synced.filter(|_| result.is_ok()) {
            shared.tail.lock().synced(synced);
        }
        for done in done {
            done(result.clone().map_err(io::Error::other));
        }
        if let Err(e) = result {
            error!(error = %e, "the log file cannot be written");
            let mut queue = shared.queue.lock();
            queue.failed = Some(e.clone());
            for done in std::mem::take(&mut queue.done) {
                done(Err(io::Error::other(e.clone())));
            }
            return;
        }
    }
}
