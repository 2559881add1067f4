//! The stores on real files.

mod damage;
mod full_disk;
mod log;
mod overlay;
mod snapshot;

use tempfile::TempDir;

use super::{StateStore, StateTuning};
use crate::env::{Env, real};

/// Small sizes, so that a test meets every bound.
fn tuning() -> StateTuning {
    StateTuning {
        cache_bytes: 1 << 20,
        overlay_bytes_max: 64 * 1024,
        flush_bytes: 4 * 1024,
        sync_bytes: 16 * 1024,
        verify_bytes_max: 0,
        chunk_bytes: 64 * 1024,
    }
}

async fn open(dir: &TempDir) -> StateStore {
    open_in(&real::env(), dir).await
}

async fn open_in(env: &Env, dir: &TempDir) -> StateStore {
    let path = dir.path().join("state.redb");
    StateStore::open(env, path, tuning()).await.unwrap()
}
