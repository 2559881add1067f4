//! The log file: appended, read, cut, purged, opened again.

#![allow(
    clippy::disallowed_methods,
    reason = "the test plays the disk's bad luck"
)]

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{
    env::real,
    storage::{LogRecord, LogRecovered, RaftLog, Slot},
};

async fn open(dir: &TempDir) -> (RaftLog, LogRecovered) {
    let path = dir.path().join("raft.redb");
    RaftLog::open(&real::env(), path).await.unwrap()
}

fn record(index: u64, len: usize) -> LogRecord {
    LogRecord {
        index,
        term: index / 10,
        kind: 1,
        body: Bytes::from(vec![index as u8; len]),
    }
}

async fn append(log: &RaftLog, records: Vec<LogRecord>) {
    let (tx, rx) = oneshot::channel();
    let done = Box::new(move |result| drop(tx.send(result)));
    log.append(records, done).await.unwrap();
    rx.await.unwrap().unwrap();
}

fn purged_id(index: u64) -> Bytes {
    Bytes::from([index.to_be_bytes(), 0u64.to_be_bytes()].concat())
}

#[tokio::test]
async fn what_was_synced_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&dir).await;
    log.set(Slot::Vote, Bytes::from_static(b"vote"))
        .await
        .unwrap();
    log.note_committed(Bytes::from_static(b"committed"));
    append(&log, (0..50).map(|i| record(i, 100)).collect()).await;
    log.truncate_from(30).await.unwrap();
    assert_eq!(log.last(), Some((2, 29)));
    append(&log, vec![record(30, 7)]).await;
    log.purge(9, purged_id(9)).await.unwrap();
    assert_eq!(log.bytes(), 20 * 100 + 7);
    log.close().await.unwrap();
    let (log, recovered) = open(&dir).await;
    assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(recovered.committed.as_deref(), Some(&b"committed"[..]));
    assert_eq!(recovered.purged, Some(purged_id(9)));
    assert_eq!(recovered.last, Some(record(30, 7)));
    assert_eq!(log.bytes(), 20 * 100 + 7);
    let all = log.read(0, 100, usize::MAX).await.unwrap();
    assert_eq!(all.first(), Some(&record(10, 100)));
    assert_eq!(all.len(), 21);
}

#[tokio::test]
async fn a_read_is_bounded_by_bytes_from_memory_and_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&dir).await;
    append(&log, (0..20).map(|i| record(i, 100)).collect()).await;
    for _ in 0..2 {
        assert_eq!(log.read(3, 20, 250).await.unwrap().len(), 2);
        assert_eq!(log.read(3, 20, 1).await.unwrap(), vec![record(3, 100)]);
        assert_eq!(log.read(3, 5, 10_000).await.unwrap().len(), 2);
        assert!(log.read(20, 30, 10_000).await.unwrap().is_empty());
        // The second time nothing is in memory.
        let (again, _) = open_copy(&dir).await;
        assert_eq!(again.read(3, 20, 250).await.unwrap().len(), 2);
    }
}

/// The log of a copy of the file, as after a crash.
async fn open_copy(dir: &TempDir) -> (RaftLog, TempDir) {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(dir.path().join("raft.redb"), copy.path().join("raft.redb")).unwrap();
    (open(&copy).await.0, copy)
}

#[tokio::test]
async fn an_empty_log_goes_on_where_the_snapshot_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&dir).await;
    append(&log, (0..5).map(|i| record(i, 10)).collect()).await;
    log.purge(99, purged_id(99)).await.unwrap();
    assert_eq!((log.last(), log.bytes()), (None, 0));
    append(&log, vec![record(100, 10)]).await;
    log.close().await.unwrap();
    let (log, recovered) = open(&dir).await;
    assert_eq!(recovered.last, Some(record(100, 10)));
    assert_eq!(log.read(0, 200, 1000).await.unwrap(), vec![record(100, 10)]);
}

#[tokio::test]
async fn the_log_is_cut_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&dir).await;
    append(&log, (0..10).map(|i| record(i, 100)).collect()).await;
    assert_eq!(log.keep_after(300), Some(6));
    assert_eq!(log.keep_after(0), Some(9));
    assert_eq!(log.keep_after(5000), None);
}
