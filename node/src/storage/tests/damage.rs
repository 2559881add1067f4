//! Cut and flipped files: an error that names the file, or the content as it was; never a panic,
//! never another content.

#![allow(
    clippy::disallowed_methods,
    reason = "the test plays the disk's bad luck"
)]

use std::path::Path;

use bytes::Bytes;
use ipfs_cluster_protocol::state::Table;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use super::tuning;
use crate::{
    env::real,
    storage::{DataFolder, Identity, LogPos, LogRecord, OpenError, RaftLog, StateStore},
};

const ROWS: u64 = 300;

async fn read_state(path: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
    let store = StateStore::open(&real::env(), path.into(), tuning()).await;
    let store = store.map_err(|e| e.to_string())?;
    let rows = store.read(|s| s.range(Table::Pin, &[], None, 1000)).await;
    let closed = store.close().await;
    let rows = rows.map_err(|e| e.to_string())?;
    // A file may be readable and not writable any more.
    closed.map(|()| rows).map_err(|e| e.to_string())
}

async fn read_log(path: &Path) -> Result<Vec<LogRecord>, String> {
    let log = RaftLog::open(&real::env(), path.into()).await;
    let (log, _) = log.map_err(|e| e.to_string())?;
    log.read(0, 1000, usize::MAX)
        .await
        .map_err(|e| e.to_string())
}

async fn write_state(path: &Path) {
    let store = StateStore::open(&real::env(), path.into(), tuning())
        .await
        .unwrap();
    let written = store.apply(|job| {
        job.step(|tx, position| {
            for i in 0..ROWS {
                tx.put(Table::Pin, &i.to_be_bytes(), &[i as u8; 100])?;
            }
            position.log = Some(LogPos { term: 1, index: 1 });
            Ok(())
        })
    });
    written.await.unwrap();
    store.close().await.unwrap();
}

async fn write_log(path: &Path) {
    let (log, _) = RaftLog::open(&real::env(), path.into()).await.unwrap();
    let records = (0..ROWS).map(|index| LogRecord {
        index,
        term: 1,
        kind: 1,
        body: Bytes::from(vec![index as u8; 100]),
    });
    let (tx, rx) = oneshot::channel();
    let done = Box::new(move |result| drop(tx.send(result)));
    log.append(records.collect(), done).await.unwrap();
    rx.await.unwrap().unwrap();
    log.close().await.unwrap();
}

/// The file with some bits flipped or its end cut off.
fn damage(good: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bad = good.to_vec();
    if rng.random_bool(0.3) {
        bad.truncate(rng.random_range(0..bad.len()));
    } else {
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bad.len());
            bad[at] ^= 1 << rng.random_range(0..8);
        }
    }
    bad
}

#[tokio::test]
async fn a_damaged_state_file_is_named_or_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    write_state(&path).await;
    let (good, rows) = (
        std::fs::read(&path).unwrap(),
        read_state(&path).await.unwrap(),
    );
    assert_eq!(rows.len() as u64, ROWS);
    let mut rng = StdRng::seed_from_u64(7);
    let mut refused = 0;
    for round in 0..60 {
        std::fs::write(&path, damage(&good, &mut rng)).unwrap();
        match read_state(&path).await {
            Ok(found) => assert_eq!(found, rows, "round {round}"),
            Err(e) => {
                assert!(e.contains("state.redb"), "{e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn a_damaged_log_file_is_named_or_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.redb");
    write_log(&path).await;
    let (good, records) = (
        std::fs::read(&path).unwrap(),
        read_log(&path).await.unwrap(),
    );
    assert_eq!(records.len() as u64, ROWS);
    let mut rng = StdRng::seed_from_u64(8);
    let mut refused = 0;
    for round in 0..60 {
        std::fs::write(&path, damage(&good, &mut rng)).unwrap();
        match read_log(&path).await {
            Ok(found) => assert_eq!(found, records, "round {round}"),
            Err(e) => {
                assert!(e.contains("raft.redb"), "{e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn a_folder_is_used_by_one_and_refused_when_newer_or_of_another_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let env = real::env();
    let folder = DataFolder::open(&env, dir.path()).await.unwrap();
    let identity: Identity = serde_json::from_str(
        r#"{"cluster":"000102030405060708090a0b0c0d0e0f","epoch":1,"incarnation":1}"#,
    )
    .unwrap();
    folder.set_identity(&env, identity).await.unwrap();
    let second = DataFolder::open(&env, dir.path()).await.unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    let mut other = identity;
    other.cluster.0[0] = 9;
    let refused = folder.set_identity(&env, other).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::OtherCluster { .. }),
        "{refused}"
    );
    assert_eq!(folder.identity(&env).await.unwrap(), Some(identity));
    drop(folder);
    let meta = dir.path().join("state/meta.json");
    std::fs::write(&meta, r#"{"format":2,"something":"else"}"#).unwrap();
    let newer = DataFolder::open(&env, dir.path()).await.unwrap_err();
    assert!(
        matches!(newer, OpenError::Newer { found: 2, .. }),
        "{newer}"
    );
    std::fs::write(&meta, b"\x00garbage").unwrap();
    let damaged = DataFolder::open(&env, dir.path()).await.unwrap_err();
    assert!(damaged.to_string().contains("meta.json"), "{damaged}");
}
