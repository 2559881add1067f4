//! The two files of a peer, opened, and checked to belong together.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ipfs_cluster_protocol::{
    codec,
    id::{Boot, Epoch},
    limits,
};

use super::wire;
use crate::{
    env::Env,
    storage::{
        DataFolder, Identity, LogRecovered, OpenError, RaftLog, Slot, StateStore, StateTuning,
    },
};

/// What was found on disk.
pub(super) struct Files {
    pub(super) folder: DataFolder,
    pub(super) log: RaftLog,
    pub(super) recovered: LogRecovered,
    pub(super) state: StateStore,
    pub(super) identity: Option<Identity>,
    /// The highest epoch that was heard of; 0 when only the peer's own was.
    pub(super) heard: Epoch,
}

impl Files {
    /// Opens the data folder in `config_dir` and both files.
    pub(super) async fn open(env: &Env, config_dir: &Path) -> Result<Self, OpenError> {
        let folder = DataFolder::open(env, config_dir).await?;
        let (log_path, state_path) = (folder.file(DataFolder::LOG), folder.file("state.redb"));
        let (log, recovered) = RaftLog::open(env, log_path.clone()).await?;
        let state = StateStore::open(env, state_path.clone(), StateTuning::default()).await?;
        let damaged = |what: String| OpenError::damaged(&log_path, &what);
        let identity = recovered
            .identity
            .as_deref()
            .map(|bytes| codec::decode::<Identity>(bytes, limits::START_IDENTITY_BYTES_MAX))
            .transpose()
            .map_err(|e| damaged(format!("who this peer is: {e}")))?;
        let purged = recovered
            .purged
            .as_deref()
            .map(wire::decode_pos)
            .transpose();
        let purged = purged.map_err(|e| damaged(format!("the purged id: {e}")))?;
        let held = state.position().log.map(|l| l.index);
        if let Some(purged) = purged
            && held < Some(purged.index)
        {
            let held = held.map_or("nothing".to_owned(), |h| format!("entries up to {h}"));
            let what = format!("it holds {held}, and the log begins after {}", purged.index);
            return Err(OpenError::damaged(&state_path, &what));
        }
        let heard = Epoch(number(recovered.heard_epoch.as_deref()));
        Ok(Self {
            folder,
            log,
            recovered,
            state,
            identity,
            heard,
        })
    }

    /// Begins a new start of the peer, durably: see [`Boot`].
    pub(super) async fn next_boot(&self) -> Result<Boot, OpenError> {
        let boot = boot_after(self.recovered.boot.as_deref());
        let stored = self.log.set(Slot::Boot, stored_number(boot.0)).await;
        stored.map_err(OpenError::io(self.folder.path()))?;
        Ok(boot)
    }
}

/// Higher than every former start. The clock makes it so even when the log was lost.
pub(super) fn boot_after(stored: Option<&[u8]>) -> Boot {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
    Boot(now.max(number(stored).saturating_add(1)))
}

/// How a number is kept in a slot of the log file.
pub(super) fn stored_number(n: u64) -> bytes::Bytes {
    n.to_be_bytes().to_vec().into()
}

fn number(stored: Option<&[u8]>) -> u64 {
    let bytes = stored.and_then(|b| <[u8; 8]>::try_from(b).ok());
    bytes.map_or(0, u64::from_be_bytes)
}
