//! Tells the cluster what this peer's IPFS node no longer holds, so that tombstones end.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::{
    id::{Rev, Seq},
    limits,
    rpc::Op,
};
use tokio::{sync::mpsc, time::sleep};

use crate::cluster::Cluster;

/// A pin that had to go is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoneReport {
    pub(super) seq: Seq,
    /// The state that was looked at.
    pub(super) as_of: Rev,
}

/// How long reports gather.
const GATHER: Duration = Duration::from_millis(50);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// Runs as long as the tracker. What is not reported now is found again by the next walk.
pub(crate) async fn report(cluster: Cluster, mut gone: mpsc::Receiver<GoneReport>) {
    while let Some(first) = gone.recv().await {
        sleep(GATHER).await;
        let mut reports = BTreeMap::from([(first.seq, first.as_of)]);
        while reports.len() < limits::GONE_SEQS_MAX
            && let Ok(more) = gone.try_recv()
        {
            reports.insert(more.seq, more.as_of);
        }
        // One claim for all: the oldest state that was looked at.
        let as_of = reports.values().min().copied().unwrap_or_default();
        let seqs: Vec<Seq> = reports.into_keys().collect();
        while let Err(e) = cluster
            .submit(Op::Gone {
                as_of,
                seqs: seqs.clone(),
            })
            .await
        {
            tracing::debug!(error = %e, pins = seqs.len(), "gone pins not reported yet");
            sleep(RETRY).await;
        }
    }
}
