//! The ledger on real files, and on a disk that fails.

use std::sync::atomic::Ordering;

use ipfs_cluster_protocol::id::{ClusterId, Seq};

use crate::{env::real, testing::bad_disk::bad_env, tracker::ledger::Ledger};

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
