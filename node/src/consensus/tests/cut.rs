//! A snapshot whose transfer is cut.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use ipfs_cluster_protocol::command::Command;

use super::cluster::{Bench, is_pinned, leader, pin, propose, soon, stop_a_follower};
use crate::consensus::links::Channel;

/// Pins of this many bytes each, so that the state takes several chunks.
const PINS: u32 = 400;
const BYTES: usize = 8 * 1024;

fn large(n: u32) -> Command {
    let mut command = pin(n);
    if let Command::Pin { spec, .. } = &mut command {
        let text = format!("{n:08}").repeat(BYTES / 8);
        spec.metadata = BTreeMap::from([("text".to_owned(), text)]);
    }
    command
}

#[tokio::test]
async fn a_snapshot_that_is_cut_on_the_way_goes_on_where_it_was_cut() {
    let bench = Bench::new();
    let mut peers = bench.cluster(3).await;
    let (n, who) = stop_a_follower(&mut peers).await;
    let lead = leader(&peers);
    let mut last = None;
    for i in 100..100 + PINS {
        last = Some(propose(lead, large(i)).await.unwrap().index);
    }
    let last = last.unwrap();
    lead.core().unwrap().purge(last.0).await.unwrap();

    let whole = PINS as usize * BYTES;
    bench.net.cut_after(&who, Channel::Snapshot, whole / 2);
    let back = bench.open(n).await;
    back.wait_applied(last, soon()).await.unwrap();
    assert!(is_pinned(&back, 100 + PINS - 1).await);
    let meter = bench.net.meter(&who, Channel::Snapshot);
    assert_eq!(meter.cuts.load(Relaxed), 1);
    let written = meter.written.load(Relaxed);
    assert!(
        written >= whole && written < whole + whole / 2,
        "{written} of {whole}"
    );
}
