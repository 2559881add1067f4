//! Packs over real files.
#![allow(
    clippy::disallowed_methods,
    reason = "tests damage packs behind the store's back"
)]

use std::{cell::Cell, fs, path::Path, sync::atomic::Ordering};

use ipfs_cluster_protocol::{
    content::{RAW, hash::name_like},
    id::Cid,
    limits::PACK_BYTES,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use super::*;
use crate::{env::real, ipfs::embedded::store::files::StoredBlock, testing::bad_disk::bad_env};

type Block = (Key, Cid, Bytes);

fn block(data: Vec<u8>) -> Block {
    let cid = name_like(1, RAW, 0x12, 32, &data).unwrap();
    (key(&cid.0.hash().to_bytes()).unwrap(), cid, data.into())
}

/// Blocks of so many bytes, each another one.
fn blocks(n: u8, len: usize) -> Vec<Block> {
    let data = |n| [&[n; 8][..], &vec![7; len - 8]].concat();
    (0..n).map(|n| block(data(n))).collect()
}

fn load_on(disk: Arc<dyn Disk>, dir: &Path) -> Packs {
    let packs = Packs::new(disk, dir.to_path_buf());
    packs.load().unwrap();
    packs
}

fn load(dir: &Path) -> Packs {
    load_on(real::env().disk, dir)
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    let list = fs::read_dir(dir.path()).unwrap();
    let mut files: Vec<_> = list.map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

fn bytes(dir: &TempDir) -> u64 {
    let len = |f: &PathBuf| fs::metadata(f).unwrap().len();
    files(dir).iter().map(len).sum()
}

#[track_caller]
fn has(packs: &Packs, blocks: &[Block]) {
    for (key, cid, data) in blocks {
        assert_eq!(packs.read(key).unwrap().as_ref(), Some(data), "{cid}");
        assert_eq!(packs.len(key), Some(data.len() as u64));
    }
}

/// Bytes by which the packs grew.
fn write(packs: &Packs, blocks: &[Block]) -> Result<u64, StoreError> {
    let grown = Cell::new(0);
    packs.write(blocks, &|bytes| grown.set(grown.get() + bytes))?;
    Ok(grown.get())
}

fn forget(packs: &Packs, blocks: &[Block]) {
    for (key, cid, data) in blocks {
        let len = data.len() as u64;
        let (key, cid) = (*key, *cid);
        assert!(packs.forget(&StoredBlock { key, cid, len }));
    }
}

#[test]
fn blocks_come_back_and_the_last_pack_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let all = blocks(6, 1000);
    let packs = load(dir.path());
    assert_eq!(write(&packs, &all[..4]), Ok(4000));
    assert_eq!(write(&packs, &all[2..5]), Ok(1000), "two were there");
    has(&packs, &all[..5]);
    drop(packs);

    let packs = Packs::new(real::env().disk, dir.path().to_path_buf());
    assert_eq!(packs.load().unwrap(), 5000);
    assert_eq!(write(&packs, &all), Ok(1000));
    assert_eq!(files(&dir).len(), 1);
    has(&load(dir.path()), &all);
    let listed = packs.blocks_of(1).unwrap();
    let listed: Vec<Cid> = listed.into_iter().map(|b| b.cid).collect();
    assert_eq!(listed, all.iter().map(|b| b.1).collect::<Vec<_>>());
}

/// Of which 256 fill a pack.
const LEN: usize = 64 * 1024;
const _: () = assert!(PACK_BYTES == 256 * LEN as u64);

/// Enough blocks for one pack and some of the next.
fn more_than_a_pack() -> Vec<Block> {
    let mut all = blocks(250, LEN);
    all.extend(blocks(26, LEN - 1));
    all
}

fn filled(dir: &TempDir, all: &[Block]) -> Packs {
    let packs = load(dir.path());
    for batch in all.chunks(32) {
        write(&packs, batch).unwrap();
    }
    assert_eq!(files(dir).len(), 2);
    packs
}

#[test]
fn a_full_pack_is_closed_and_what_was_forgotten_stays_forgotten() {
    let (dir, all) = (tempfile::tempdir().unwrap(), more_than_a_pack());
    let packs = filled(&dir, &all);
    forget(&packs, &all[..10]);
    packs.tidy(1, true).unwrap();
    assert_eq!(files(&dir).len(), 2, "ten blocks are not worth a move");
    let packs = load(dir.path());
    assert_eq!(packs.read(&all[0].0).unwrap(), None);
    has(&packs, &all[10..]);
    // Without its footer it is read block by block, those that were forgotten as well.
    let path = packs.path(1);
    let pack = fs::read(&path).unwrap();
    fs::write(&path, &pack[..pack.len() - 1]).unwrap();
    has(&load(dir.path()), &all);
    assert_eq!(
        fs::read(&path).unwrap()[..pack.len() - 1],
        pack[..pack.len() - 1]
    );
    has(&load(dir.path()), &all);
}

#[test]
fn a_pack_of_which_a_quarter_is_gone_is_moved() {
    let (dir, all) = (tempfile::tempdir().unwrap(), more_than_a_pack());
    let packs = filled(&dir, &all);
    let (gone, rest) = all.split_at(70);
    let before = bytes(&dir);
    forget(&packs, gone);
    packs.tidy(1, true).unwrap();
    assert!(!files(&dir).contains(&packs.path(1)));
    assert!(bytes(&dir) < before - 69 * LEN as u64);
    has(&packs, rest);
    let packs = load(dir.path());
    has(&packs, rest);
    assert_eq!(packs.read(&gone[0].0).unwrap(), None);
    // With the last block the last pack goes.
    forget(&packs, rest);
    for number in packs.numbers() {
        packs.tidy(number, true).unwrap();
    }
    assert!(files(&dir).is_empty());
    write(&packs, gone).unwrap();
    has(&packs, gone);
}

#[test]
fn wherever_a_crash_cuts_a_pack_what_came_before_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let all = blocks(3, 60);
    write(&load(dir.path()), &all).unwrap();
    let path = files(&dir).remove(0);
    let whole = fs::read(&path).unwrap();
    let record = whole.len() / 3;
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let packs = load(dir.path());
        has(&packs, &all[..cut / record]);
        let more = &all[cut / record..];
        assert!(more.iter().all(|b| packs.len(&b.0).is_none()));
        write(&packs, &all).unwrap();
        has(&packs, &all);
        has(&load(dir.path()), &all);
        for file in files(&dir) {
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_disk_that_fails_is_told_and_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (env, broken) = bad_env();
    let packs = load_on(env.disk, dir.path());
    let all = blocks(9, 500);
    write(&packs, &all[..3]).unwrap();
    broken.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(matches!(
            write(&packs, &all[3..6]),
            Err(StoreError::Io { .. })
        ));
    }
    assert_eq!(files(&dir).len(), 1, "packs for nothing are left");
    broken.store(false, Ordering::SeqCst);
    write(&packs, &all[6..]).unwrap();
    has(&packs, &all[..3]);
    assert_eq!(packs.len(&all[3].0), None);
    write(&packs, &all).unwrap();
    has(&load(dir.path()), &all);
}

#[test]
fn room_that_could_not_be_given_back_is_given_back_later() {
    let dir = tempfile::tempdir().unwrap();
    let (env, broken) = bad_env();
    let packs = load_on(env.disk, dir.path());
    let all = blocks(9, 500);
    write(&packs, &all).unwrap();
    forget(&packs, &all[..5]);
    broken.store(true, Ordering::SeqCst);
    packs.tidy(1, true).unwrap_err();
    packs.give_back().unwrap_err();
    has(&packs, &all[5..]);
    broken.store(false, Ordering::SeqCst);
    packs.give_back().unwrap();
    has(&packs, &all[5..]);
    assert!(bytes(&dir) < 5 * 600);
    has(&load(dir.path()), &all[5..]);
}

#[test]
fn damaged_packs_never_panic_nor_give_up_a_block_that_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let all = blocks(20, 100);
    let packs = load(dir.path());
    write(&packs, &all).unwrap();
    let path = files(&dir).remove(0);
    let records = fs::read(&path).unwrap();
    let found = contents(&*packs.disk.open(&path, OpenMode::Read).unwrap()).unwrap();
    let closed = [records.clone(), footer(&found.entries).unwrap()].concat();
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..400 {
        let mut pack = if round % 2 == 0 {
            records.clone()
        } else {
            closed.clone()
        };
        let at = rng.random_range(0..pack.len());
        match rng.random_range(0..3) {
            0 => pack[at] ^= 1 << rng.random_range(0..8),
            1 => pack.truncate(at),
            _ => pack[at..].fill(rng.random()),
        }
        fs::write(&path, &pack).unwrap();
        let packs = load(dir.path());
        // One changed bit costs one block, or, in a head, those behind it in an open pack.
        has(&packs, &all[..(at / (records.len() / 20)).min(20)]);
        for (key, cid, _) in &all {
            // Never wrong bytes that pass for right ones: the store compares them with the name.
            let data = packs.read(key).unwrap();
            assert!(data.is_none_or(|d| d.len() <= 100), "{cid}");
        }
        write(&packs, &all).unwrap();
        for file in files(&dir) {
            fs::remove_file(file).unwrap();
        }
    }
}
