//! The store over real files.
#![allow(
    clippy::disallowed_methods,
    reason = "tests damage files behind the node's back"
)]

use std::path::Path;

use ipfs_cluster_protocol::content::{RAW, hash::name_like};

use super::*;
use crate::{env::real, testing::bad_disk::bad_env};

fn block(data: &'static [u8]) -> (Cid, Bytes) {
    let cid = name_like(1, RAW, 0x12, 32, data).unwrap();
    (cid, Bytes::from_static(data))
}

async fn open(dir: &Path, max: u64) -> Store {
    let store = Store::open(dir.to_path_buf(), max, &real::env())
        .await
        .unwrap();
    store.settle().await.unwrap();
    store
}

fn file_of(store: &Store, cid: &Cid) -> PathBuf {
    store.0.files.place(cid).path
}

#[tokio::test]
async fn blocks_come_back_after_a_restart_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (block(b"one"), block(b"three"));
    let store = open(dir.path(), 1000).await;
    store
        .put(vec![a.clone(), b.clone(), a.clone()])
        .await
        .unwrap();
    store.put(vec![b.clone()]).await.unwrap();
    assert_eq!(store.used().await, Ok(8));
    drop(store);
    let store = open(dir.path(), 1000).await;
    assert_eq!(store.used().await, Ok(8));
    assert_eq!(store.get(&a.0).await, Ok(Some(a.1.clone())));
    let none = block(b"none").0;
    assert_eq!(store.lens(vec![b.0, none]).await, Ok(vec![Some(5), None]));
    assert_eq!(store.get(&none).await, Ok(None));
}

#[tokio::test]
async fn a_disk_that_fails_while_the_blocks_are_counted_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let a = block(b"one");
    open(dir.path(), 1000).await.put(vec![a]).await.unwrap();
    let (env, broken) = bad_env();
    let store = Store::open(dir.path().to_path_buf(), 1000, &env)
        .await
        .unwrap();
    broken.store(true, Ordering::SeqCst);
    assert!(store.settle().await.is_err());
    let counting = tokio::spawn({
        let store = store.clone();
        async move { store.settle_at_last().await }
    });
    broken.store(false, Ordering::SeqCst);
    assert_eq!(store.used().await, Ok(3));
    counting.await.unwrap();
}

#[tokio::test]
async fn half_written_files_of_an_earlier_life_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 1000).await);
    std::fs::write(dir.path().join("tmp/0-17"), b"half").unwrap();
    drop(open(dir.path(), 1000).await);
    assert_eq!(
        std::fs::read_dir(dir.path().join("tmp")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_corrupt_block_is_noticed_moved_aside_and_can_be_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let a = block(b"some block");
    let store = open(dir.path(), 1000).await;
    store.put(vec![a.clone()]).await.unwrap();
    let path = file_of(&store, &a.0);
    for bad in [&b"some clock"[..], b"some", b"", b"some block and more"] {
        std::fs::write(&path, bad).unwrap();
        let error = store.get(&a.0).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Corrupt { cid, .. } if cid == a.0),
            "{error}"
        );
        assert_eq!(store.get(&a.0).await, Ok(None));
        let aside = dir.path().join("corrupt").join(path.file_name().unwrap());
        assert_eq!(std::fs::read(aside).unwrap(), bad);
        store.put(vec![a.clone()]).await.unwrap();
        assert_eq!(store.get(&a.0).await, Ok(Some(a.1.clone())));
    }
}

#[tokio::test]
async fn a_full_store_says_so_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (block(b"12345"), block(b"123456"));
    open(dir.path(), 10)
        .await
        .put(vec![a.clone()])
        .await
        .unwrap();
    let store = open(dir.path(), 10).await;
    let error = store.put(vec![b.clone()]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the IPFS store is full: 5 bytes used of 10, 6 more do not fit"
    );
    assert_eq!(store.lens(vec![a.0, b.0]).await, Ok(vec![Some(5), None]));
}

#[tokio::test]
async fn a_disk_error_names_the_file_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let a = block(b"x");
    let store = open(dir.path(), 10).await;
    // A file where the shard's folder would be.
    let shard = file_of(&store, &a.0).parent().unwrap().to_path_buf();
    std::fs::write(&shard, b"").unwrap();
    let error = store.put(vec![a]).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(
        std::fs::read_dir(dir.path().join("tmp")).unwrap().count(),
        0
    );
}
