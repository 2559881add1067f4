//! Keeps the log short: once it is large, what the state file holds for certain is purged.

use std::{sync::Arc, time::Duration};

use openraft::{Instant as _, async_runtime::WatchReceiver, error::Fatal};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{
    core::Core,
    types::{RaftMetrics, TypeConfig},
};
use crate::storage::RaftLog;

/// Between two looks at the log's length.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long openraft may take to notice a snapshot.
const PURGE_MAX: Duration = Duration::from_secs(20);
/// Bytes of log that are always kept.
pub const LOG_BYTES_MIN: u64 = 256 << 20;
/// Length of a state file that holds little.
const STATE_BYTES_MIN: u64 = 4 << 20;
/// How many times its usual length the log may have for a follower that lags.
const PATIENCE: u64 = 4;

/// Runs as long as the peer.
pub(super) async fn run(core: Arc<Core>, log: RaftLog, keep: u64) {
    loop {
        sleep(LOOK_EVERY).await;
        if let Err(e) = look(&core, &log, keep).await {
            warn!(error = %e, "the log could not be made shorter");
        }
    }
}

async fn look(core: &Core, log: &RaftLog, keep: u64) -> Result<(), String> {
    let bytes = log.bytes();
    if bytes < keep {
        return Ok(());
    }
    let state = core.state.file_len().await.map_err(|e| e.to_string())?;
    // A state file has a least length that says nothing about what is in it.
    let state = state.saturating_sub(STATE_BYTES_MIN);
    let limit = keep.max(state / 4);
    // What is being sent to another peer goes on with the log behind it.
    if bytes < limit || core.state.is_sending() {
        return Ok(());
    }
    let Some(mut upto) = log.keep_after(limit / 2) else {
        return Ok(());
    };
    if bytes < limit * PATIENCE {
        upto = upto.min(slowest_follower(core));
    }
    info!(upto, bytes, "purging the log");
    core.purge(upto).await
}

impl Core {
    /// Purges the log up to an entry that the synced state holds.
    pub(super) async fn purge(&self, upto: u64) -> Result<(), String> {
        let synced = self.state.sync().await.map_err(|e| e.to_string())?;
        let upto = upto.min(synced.log.map_or(0, |l| l.index));
        // openraft purges no further than the snapshot it knows of: the synced state.
        let asked = async {
            self.raft.trigger().snapshot().await?;
            let mut metrics = self.raft.metrics();
            let known = |m: &RaftMetrics| m.snapshot.is_some_and(|s| s.index >= upto);
            while !known(&metrics.borrow_watched()) {
                if metrics.changed().await.is_err() {
                    return Ok(());
                }
            }
            self.raft.trigger().purge_log(upto).await?;
            // While a follower is being sent these entries, they stay for a while.
            let done = |m: &RaftMetrics| m.purged.is_some_and(|p| p.index >= upto);
            while !done(&metrics.borrow_watched()) {
                if metrics.changed().await.is_err() {
                    break;
                }
            }
            Ok::<(), Fatal<TypeConfig>>(())
        };
        match timeout(PURGE_MAX, asked).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(stopped)) => Err(stopped.to_string()),
            Err(_) => Err("the log was not purged in time: its entries are being sent".into()),
        }
    }
}

/// How far the slowest live follower has come; the end of the log where this peer does not lead.
fn slowest_follower(core: &Core) -> u64 {
    let metrics = core.raft.metrics().borrow_watched().clone();
    let (Some(replication), Some(heartbeat)) = (metrics.replication, metrics.heartbeat) else {
        return u64::MAX;
    };
    let lives = |id| {
        let acked = heartbeat.get(id).and_then(Option::as_ref);
        acked.is_some_and(|at| at.elapsed() < Duration::from_secs(30))
    };
    let live = replication.iter().filter(|(id, _)| lives(*id));
    live.map(|(_, matched)| matched.map_or(0, |m| m.index))
        .min()
        .unwrap_or(u64::MAX)
}
