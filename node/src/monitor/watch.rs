//! Feeds the view from gossip, and looks for lapses now and then.

use std::time::Duration;

use ipfs_cluster_protocol::gossip::MetricsMessage;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::view::Monitor;
use crate::{
    net::{GossipMessage, Net, Topic},
    worker::Workers,
};

/// Starts listening to the members' metrics.
pub fn start(monitor: &Monitor, net: &Net, check_interval: Duration, workers: &mut Workers) {
    let heard = net.subscribe(Topic::Metrics);
    workers.spawn("monitor", watch(monitor.clone(), heard, check_interval));
}

/// Until the network ends.
async fn watch(
    monitor: Monitor,
    mut heard: mpsc::Receiver<GossipMessage>,
    check_interval: Duration,
) {
    let mut check_at = Instant::now() + check_interval;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(check_at) => {
                monitor.check();
                check_at = Instant::now() + check_interval;
            }
            message = heard.recv() => match message {
                Some(message) => take(&monitor, &message),
                None => return,
            },
        }
    }
}

fn take(monitor: &Monitor, message: &GossipMessage) {
    match MetricsMessage::decode(&message.from, &message.body) {
        Ok(message) => message.metrics.into_iter().for_each(|m| monitor.observe(m)),
        Err(e) => tracing::debug!(peer = %message.from, error = %e, "metrics dropped"),
    }
}
