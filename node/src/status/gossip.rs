//! Telling the others of the own table, and hearing of theirs.

use std::{sync::Arc, time::Duration};

use ipfs_cluster_protocol::{
    gossip::StatusMessage,
    status::{Applied, Delta},
};
use rand::Rng as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::{pull, tables::StatusTables};
use crate::{
    consensus::Agreement,
    net::{GossipMessage, Net, Proto, Topic},
    worker::Workers,
};

/// How often is what said and asked.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From a change to the delta that tells it: what a pin goes through at once is told at once.
    pub gather: Duration,
    /// The same, when no pin of this peer has changed.
    pub idle: Duration,
    /// Between two deltas, at least.
    pub delta_min: Duration,
    /// The same, for each other member.
    pub delta_per_member: Duration,
    /// Between two digests.
    pub digest_min: Duration,
    /// The same, for each other member.
    pub digest_per_member: Duration,
    /// Between two comparisons of the states.
    pub state: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(25),
            idle: Duration::from_millis(250),
            delta_min: Duration::from_millis(50),
            delta_per_member: Duration::from_millis(2),
            digest_min: Duration::from_secs(3),
            digest_per_member: Duration::from_millis(30),
            state: Duration::from_secs(10),
        }
    }
}

impl Timing {
    fn delta(&self, others: usize) -> Duration {
        self.delta_min.max(self.delta_per_member * small(others))
    }

    /// With jitter, so that peers which started together do not speak together.
    fn digest(&self, others: usize) -> Duration {
        let mean = self.digest_min.max(self.digest_per_member * small(others));
        mean.mul_f64(rand::rng().random_range(0.75..1.25))
    }

    fn state(&self) -> Duration {
        self.state.mul_f64(rand::rng().random_range(0.75..1.25))
    }

    /// After so long without a digest an owner is asked itself.
    pub(super) fn silence(&self, others: usize) -> Duration {
        4 * self.digest_min.max(self.digest_per_member * small(others))
    }
}

fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Starts spreading the own table and following the others'. A recovering peer must not yet: its
/// state may have gone back.
pub fn start(
    tables: &StatusTables,
    net: &Net,
    agreement: Agreement,
    timing: Timing,
    workers: &mut Workers,
) {
    let heard = net.subscribe(Topic::Status);
    let asked = net.accept(Proto::StatusPull);
    workers.spawn("status gossip", tell(tables.clone(), net.clone(), timing));
    workers.spawn(
        "status tables",
        hear(tables.clone(), agreement.clone(), heard),
    );
    workers.spawn("state hashes", compare(agreement, net.clone(), timing));
    workers.spawn(
        "status pulls",
        pull::run(tables.clone(), Arc::new(net.clone()), timing),
    );
    workers.spawn("status pull server", pull::serve(tables.clone(), asked));
}

/// One delta at a time, and a digest now and then.
async fn tell(tables: StatusTables, net: Net, timing: Timing) {
    let mut digest_at = Instant::now() + timing.digest(tables.others_len());
    loop {
        tokio::select! {
            biased;
            () = sleep_until(digest_at) => {
                digest_at = Instant::now() + timing.digest(tables.others_len());
                tell_changes(&tables, &net).await;
                if let Some(digest) = tables.digest() {
                    publish(&net, StatusMessage::Digest(digest)).await;
                }
            }
            () = tables.changed(timing.idle) => {
                sleep(timing.gather).await;
                tell_changes(&tables, &net).await;
                let pause = timing.delta(tables.others_len());
                sleep(pause.saturating_sub(timing.gather)).await;
            }
        }
    }
}

async fn tell_changes(tables: &StatusTables, net: &Net) {
    if let Some(delta) = tables.seal() {
        publish(net, StatusMessage::Delta(delta)).await;
    }
}

/// Tells what this peer's state is, and compares it with what the others told.
async fn compare(agreement: Agreement, net: Net, timing: Timing) {
    loop {
        sleep(timing.state()).await;
        let statements = agreement.statements();
        publish(&net, StatusMessage::State(statements)).await;
        agreement.judge();
    }
}

/// What nobody got now is pulled later, or told again.
async fn publish(net: &Net, message: StatusMessage) {
    if let Err(e) = net.publish(Topic::Status, message.encode()).await {
        tracing::trace!(error = %e, "status not published");
    }
}

/// Takes in what other members tell, until the network ends.
async fn hear(
    tables: StatusTables,
    agreement: Agreement,
    mut heard: mpsc::Receiver<GossipMessage>,
) {
    while let Some(message) = heard.recv().await {
        match StatusMessage::decode(&message.from, &message.body) {
            Ok(StatusMessage::Delta(delta)) => take(&tables, delta),
            Ok(StatusMessage::Digest(digest)) => tables.observe_digest(&digest),
            Ok(StatusMessage::State(statements)) => agreement.heard(message.from, statements),
            Err(e) => tracing::debug!(peer = %message.from, error = %e, "status dropped"),
        }
    }
}

fn take(tables: &StatusTables, delta: Delta) {
    let peer = delta.table.peer.clone();
    if tables.apply_delta(delta) == Some(Applied::Malformed) {
        tracing::debug!(%peer, "malformed status delta dropped");
    }
}
