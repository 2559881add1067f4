//! The store over real files.
#![allow(
    clippy::disallowed_methods,
    reason = "tests damage files behind the node's back"
)]

use std::path::Path;

use ipfs_cluster_protocol::{
    content::{RAW, hash::name_like},
    limits::PACKED_BLOCK_BYTES_MAX,
};

use super::*;
use crate::{env::real, testing::bad_disk::bad_env};

fn block(data: &[u8]) -> (Cid, Bytes) {
    let cid = name_like(1, RAW, 0x12, 32, data).unwrap();
    (cid, Bytes::copy_from_slice(data))
}

/// One that is a file by itself.
fn large(data: &[u8]) -> (Cid, Bytes) {
    block(&[data, &[0; PACKED_BLOCK_BYTES_MAX]].concat())
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
    let a = large(b"one");
    open(dir.path(), 1_000_000)
        .await
        .put(vec![a])
        .await
        .unwrap();
    let (env, broken) = bad_env();
    let store = Store::open(dir.path().to_path_buf(), 1_000_000, &env)
        .await
        .unwrap();
    broken.store(true, Ordering::SeqCst);
    assert!(store.settle().await.is_err());
    let counting = tokio::spawn({
        let store = store.clone();
        async move { store.settle_at_last().await }
    });
    broken.store(false, Ordering::SeqCst);
    assert_eq!(store.used().await, Ok(PACKED_BLOCK_BYTES_MAX as u64 + 3));
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

/// The bytes that were moved aside.
fn aside(dir: &Path, cid: &Cid) -> Vec<u8> {
    let name = Files::new(real::env().disk, PathBuf::new()).place(cid).path;
    std::fs::read(dir.join("corrupt").join(name.file_name().unwrap())).unwrap()
}

#[track_caller]
fn corrupt(got: Result<Option<Bytes>, StoreError>, cid: &Cid) {
    let error = got.unwrap_err();
    assert!(
        matches!(error, StoreError::Corrupt { cid: c, .. } if c == *cid),
        "{error}"
    );
}

#[tokio::test]
async fn a_corrupt_file_is_noticed_moved_aside_and_its_block_can_be_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let a = large(b"some block");
    let store = open(dir.path(), 10_000_000).await;
    store.put(vec![a.clone()]).await.unwrap();
    let path = file_of(&store, &a.0);
    for bad in [&b"some clock"[..], b"some", b"", b"some block and more"] {
        std::fs::write(&path, bad).unwrap();
        corrupt(store.get(&a.0).await, &a.0);
        assert_eq!(store.get(&a.0).await, Ok(None));
        assert_eq!(aside(dir.path(), &a.0), bad);
        store.put(vec![a.clone()]).await.unwrap();
        assert_eq!(store.get(&a.0).await, Ok(Some(a.1.clone())));
    }
}

/// The pack that a block lies in, and where its data begin.
fn in_pack(store: &Store, cid: &Cid, data: &[u8]) -> (PathBuf, usize) {
    let packs = &store.0.write[store.0.lane(cid)].packs;
    let path = packs.path_of(&key_of(cid).unwrap());
    let pack = std::fs::read(&path).unwrap();
    let at = pack.windows(data.len()).position(|w| w == data).unwrap();
    (path, at)
}

#[tokio::test]
async fn a_corrupt_block_in_a_pack_is_moved_aside_and_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (block(b"some block"), block(b"another block"));
    let store = open(dir.path(), 1000).await;
    for stored_again in [false, true] {
        store.put(vec![a.clone(), b.clone()]).await.unwrap();
        let (path, at) = in_pack(&store, &a.0, &a.1);
        let mut pack = std::fs::read(&path).unwrap();
        pack[at] = b'S';
        std::fs::write(&path, pack).unwrap();
        corrupt(store.get(&a.0).await, &a.0);
        assert_eq!(store.lens(vec![a.0]).await, Ok(vec![None]));
        assert_eq!(aside(dir.path(), &a.0), b"Some block");
        assert_eq!(store.used().await, Ok(13));
        if stored_again {
            store.put(vec![a.clone()]).await.unwrap();
        }
        let again = open(dir.path(), 1000).await;
        let there = stored_again.then_some(10);
        assert_eq!(again.lens(vec![a.0, b.0]).await, Ok(vec![there, Some(13)]));
        assert_eq!(again.get(&a.0).await, Ok(stored_again.then(|| a.1.clone())));
    }
}

#[tokio::test]
async fn small_blocks_that_are_files_already_stay_files() {
    let dir = tempfile::tempdir().unwrap();
    let a = block(b"of an earlier version");
    let store = open(dir.path(), 1000).await;
    let path = file_of(&store, &a.0);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &a.1).unwrap();
    let store = open(dir.path(), 1000).await;
    store.put(vec![a.clone()]).await.unwrap();
    assert_eq!(store.used().await, Ok(21));
    assert_eq!(store.get(&a.0).await, Ok(Some(a.1.clone())));
    let mut swept = vec![];
    for portion in store.portions().await.unwrap() {
        // As after an hour: nothing keeps what was put any more.
        swept.extend(store.list(portion).await.unwrap());
    }
    assert_eq!(swept, [a.0]);
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
    let a = large(b"x");
    let store = open(dir.path(), 1_000_000).await;
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
