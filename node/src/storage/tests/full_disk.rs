//! A disk that fails is not a damaged file: what is told of it sends nobody to move the file aside.

use std::sync::atomic::Ordering;

use ipfs_cluster_protocol::state::{StateTx, Table};

use super::open_in;
use crate::{
    storage::{ReadError, StateStore},
    testing::bad_disk::bad_env,
};

async fn put(store: &StateStore, key: u8) -> Result<(), ReadError> {
    let put = move |tx: &mut dyn StateTx| tx.put(Table::Pin, &[key], &[key; 100]);
    let applied = store.apply(move |job| job.step(|tx, _| put(tx)));
    applied.await?;
    store.sync().await.map(|_| ())
}

#[tokio::test]
async fn a_disk_that_has_failed_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let (env, broken) = bad_env();
    let store = open_in(&env, &dir).await;
    put(&store, 1).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let first = put(&store, 2).await.unwrap_err().to_string();
    broken.store(false, Ordering::SeqCst);
    let second = put(&store, 3).await.unwrap_err().to_string();
    for told in [&first, &second] {
        assert!(told.contains("state.redb"), "{told}");
        assert!(!told.contains("damaged"), "{told}");
    }
    assert!(second.contains("the disk has failed before"), "{second}");
    drop(store);
    let store = open_in(&env, &dir).await;
    put(&store, 4).await.unwrap();
}
