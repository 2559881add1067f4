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
    /// The last change of the pin or its tombstone there.
    pub(super) rev: Rev,
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
        let mut reports = BTreeMap::from([(first.seq, first)]);
        while reports.len() < limits::GONE_SEQS_MAX
            && let Ok(more) = gone.try_recv()
        {
            reports.insert(more.seq, more);
        }
        for (as_of, seqs) in claims(reports.into_values().collect()) {
            tell(&cluster, as_of, seqs).await;
        }
    }
}

async fn tell(cluster: &Cluster, as_of: Rev, seqs: Vec<Seq>) {
    let op = Op::Gone { as_of, seqs };
    while let Err(e) = cluster.submit(op.clone()).await {
        tracing::debug!(error = %e, "gone pins not reported yet");
        sleep(RETRY).await;
    }
}

/// The fewest claims that say it all. One that is older than a pin's last change says nothing of
/// that pin, and one that is newer than the look would say more than was seen.
fn claims(mut reports: Vec<GoneReport>) -> Vec<(Rev, Vec<Seq>)> {
    reports.sort_by_key(|report| report.as_of);
    let mut claims = Vec::new();
    while let Some(as_of) = reports.first().map(|oldest| oldest.as_of) {
        let (told, later): (Vec<_>, Vec<_>) = reports
            .into_iter()
            .partition(|report| report.rev <= as_of || report.as_of == as_of);
        claims.push((as_of, told.iter().map(|report| report.seq).collect()));
        reports = later;
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(seq: u64, rev: u64, as_of: u64) -> GoneReport {
        GoneReport {
            seq: Seq(seq),
            rev: Rev(rev),
            as_of: Rev(as_of),
        }
    }

    #[test]
    fn one_claim_tells_of_all_that_had_changed_by_the_oldest_look() {
        let told = claims(vec![looked(1, 3, 9), looked(2, 4, 7), looked(3, 7, 8)]);
        assert_eq!(told, [(Rev(7), vec![Seq(2), Seq(3), Seq(1)])]);
    }

    #[test]
    fn a_pin_that_changed_after_another_was_looked_at_is_told_of_apart() {
        let told = claims(vec![looked(1, 4, 4), looked(2, 6, 6), looked(3, 2, 6)]);
        let wanted = [(Rev(4), vec![Seq(1), Seq(3)]), (Rev(6), vec![Seq(2)])];
        assert_eq!(told, wanted);
    }
}
