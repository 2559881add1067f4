//! The real state store on a simulated disk: what a crash takes, and what it must not take.
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::{
    env::Env,
    storage::{Position, StateStore, StateTuning},
};
use ipfs_cluster_protocol::{id::Rev, state::tx::Table};
use ipfs_cluster_sim::{disk::Crash, host::Program, simulation::Simulation, world::Trace};

/// A unit per life: opens the store, notes where it is, then applies ten commits, the first four
/// of them synced.
#[derive(Clone, Default)]
struct StoreProgram {
    /// Where the store was when each life began.
    found: Arc<Mutex<Vec<Position>>>,
    applied: Arc<Mutex<Rev>>,
    /// Kept beyond the crash, as handles of a real peer are.
    held: Arc<Mutex<Option<StateStore>>>,
}

const SYNCED: u64 = 4;
const COMMITS: u64 = 10;

async fn commit(store: &StateStore, rev: u64) -> Result<(), String> {
    let work = move |job: &mut ipfs_cluster_node::storage::ApplyJob<'_>| {
        job.step(|tx, position| {
            position.rev = Rev(rev);
            tx.put(Table::Cid, &rev.to_be_bytes(), &[0; 2000])
        })
    };
    store.apply(work).await.map_err(|e| e.to_string())
}

impl StoreProgram {
    async fn run(self, env: Env) -> Result<(), String> {
        let folder = PathBuf::from("/peer/state");
        env.disk
            .create_dir_all(&folder)
            .map_err(|e| e.to_string())?;
        env.disk.sync_dir(&folder).map_err(|e| e.to_string())?;
        let store = StateStore::open(&env, folder.join("state.redb"), StateTuning::default())
            .await
            .map_err(|e| e.to_string())?;
        let start = store.position();
        self.found.lock().unwrap().push(start.clone());
        *self.held.lock().unwrap() = Some(store.clone());
        for n in 1..=COMMITS {
            commit(&store, start.rev.0 + n).await?;
            *self.applied.lock().unwrap() = Rev(start.rev.0 + n);
            if n == SYNCED {
                store.sync().await.map_err(|e| e.to_string())?;
            }
        }
        futures::future::pending().await
    }
}

impl Program for StoreProgram {
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>> {
        self.clone().run(env).boxed()
    }

    fn forget(&mut self) {
        *self.held.lock().unwrap() = None;
    }
}

/// Where the second life begins, after `wait` of the first and a crash.
fn second_start(seed: u64, kind: Crash, wait: Duration) -> u64 {
    let mut sim = Simulation::new(seed, Trace::new(None));
    let program = StoreProgram::default();
    let host = sim.add("store", program.clone());
    sim.boot(host).unwrap();
    let applied = program.applied.clone();
    let done = sim.run_until(Duration::from_secs(2), |_| {
        *applied.lock().unwrap() == Rev(COMMITS)
    });
    assert!(done, "{:?}", sim.take_exits());
    sim.run_for(wait);
    sim.crash(host, kind, true);
    sim.boot(host).unwrap();
    sim.run_for(Duration::from_secs(1));
    assert!(sim.take_exits().is_empty(), "the store did not open again");
    let found = program.found.lock().unwrap();
    found[1].rev.0
}

#[test]
fn a_commit_that_was_never_synced_is_gone_after_a_power_loss() {
    for seed in 0..20 {
        let rev = second_start(seed, Crash::PowerLoss, Duration::ZERO);
        assert_eq!(rev, SYNCED, "seed {seed}");
    }
}

#[test]
fn an_unsynced_commit_in_the_file_is_gone_too() {
    // The flusher has committed to the file by now, without a sync. Were the disk not fenced, the
    // store would sync it when the crash drops it.
    for seed in 0..20 {
        for kind in [Crash::PowerLoss, Crash::Kill] {
            let rev = second_start(seed, kind, Duration::from_secs(3));
            assert_eq!(rev, SYNCED, "seed {seed} {kind:?}");
        }
    }
}

#[test]
fn what_the_flusher_has_synced_survives() {
    for seed in 0..5 {
        let rev = second_start(seed, Crash::PowerLoss, Duration::from_secs(10));
        assert_eq!(rev, COMMITS, "seed {seed}");
    }
}
