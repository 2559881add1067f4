//! Keeps the log short: once it is large, what the state file holds for certain is purged.

use std::{sync::Arc, time::Duration};

use openraft::{Instant as _, async_runtime::WatchReceiver};
use tokio::time::sleep;
use tracing::{info, warn};

use super::core::Core;
use crate::storage::{RaftLog, ReadError};

/// Between two looks at the log's length.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes of log that are always kept.
const LOG_BYTES_MIN: u64 = 256 << 20;
/// How many times its usual length the log may have for a follower that lags.
const PATIENCE: u64 = 4;

/// Runs as long as the peer.
pub(super) async fn run(core: Arc<Core>, log: RaftLog) {
    loop {
        sleep(LOOK_EVERY).await;
        if let Err(e) = look(&core, &log).await {
            warn!(error = %e, "the log could not be made shorter");
        }
    }
}

async fn look(core: &Core, log: &RaftLog) -> Result<(), ReadError> {
    let bytes = log.bytes();
    if bytes < LOG_BYTES_MIN {
        return Ok(());
    }
    let limit = LOG_BYTES_MIN.max(core.state.file_len().await? / 4);
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
    let synced = core.state.sync().await?;
    let upto = upto.min(synced.log.map_or(0, |l| l.index));
    info!(upto, bytes, "purging the log");
    // openraft purges no further than the snapshot it knows of: the synced state.
    let asked = async {
        core.raft.trigger().snapshot().await?;
        let mut progress = core.raft.metrics();
        let known = |m: &super::types::RaftMetrics| m.snapshot.is_some_and(|s| s.index >= upto);
        while !known(&progress.borrow_watched()) {
            if progress.changed().await.is_err() {
                return Ok(());
            }
        }
        core.raft.trigger().purge_log(upto).await
    };
    match tokio::time::timeout(LOOK_EVERY * 4, asked).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => warn!(error = %e, "the log could not be made shorter"),
        Err(_) => warn!("the state's snapshot was not noticed in time"),
    }
    Ok(())
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
