//! openraft's own tests of log stores and state machines, on ours.

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    consensus::{
        agreement::Agreement, log_store::LogStore, state_machine::StateMachine, types::TypeConfig,
    },
    env::real,
    storage::{RaftLog, StateStore, StateTuning},
};

struct Files;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Files {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let env = real::env();
        let (log, recovered) = RaftLog::open(&env, dir.path().join("raft.redb"))
            .await
            .unwrap();
        let path = dir.path().join("state.redb");
        let state = StateStore::open(&env, path, StateTuning::default())
            .await
            .unwrap();
        let store = LogStore::new(log, &recovered).unwrap();
        let agreement = Agreement::new(watch::Sender::default().subscribe());
        let machine = StateMachine::new(state, watch::Sender::new(0), agreement);
        Ok((dir, store, machine))
    }
}

#[tokio::test]
async fn the_stores_pass_openrafts_suite() {
    Suite::test_store(&Files).await.unwrap();
}
