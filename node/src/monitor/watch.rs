//! Feeds the view from gossip, and looks for lapses now and then. Gossip may get lost: who seems
//! silent is asked before anybody is alerted.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use ipfs_cluster_protocol::{gossip::MetricsMessage, id::PeerId, limits, metrics::Metric};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::view::Monitor;
use crate::{
    net::{GossipMessage, Net, Topic},
    worker::Workers,
};

/// Asks a peer what it has last told of itself; nothing when it does not answer in time.
pub type AskMetrics = Arc<dyn Fn(PeerId) -> BoxFuture<'static, Vec<Metric>> + Send + Sync>;

/// Starts listening to the members' metrics.
pub fn start(
    monitor: &Monitor,
    net: &Net,
    check_interval: Duration,
    ask: AskMetrics,
    workers: &mut Workers,
) {
    let heard = net.subscribe(Topic::Metrics);
    let watched = watch(monitor.clone(), heard, check_interval, ask);
    workers.spawn("monitor", watched);
}

/// Until the network ends.
async fn watch(
    monitor: Monitor,
    mut heard: mpsc::Receiver<GossipMessage>,
    check_interval: Duration,
    ask: AskMetrics,
) {
    let mut check_at = Instant::now() + check_interval;
    // Those that seemed silent at the last look.
    let mut asked = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((peer, metrics)) = asked.next() => {
                answered(&monitor, &peer, metrics);
                if asked.is_empty() {
                    monitor.check();
                }
            }
            () = sleep_until(check_at) => {
                check_at = Instant::now() + check_interval;
                if asked.is_empty() {
                    let silent = monitor.silent().into_iter();
                    asked.extend(silent.map(|peer| ask(peer.clone()).map(|told| (peer, told))));
                }
                if asked.is_empty() {
                    monitor.check();
                }
            }
            message = heard.recv() => match message {
                Some(message) => take(&monitor, &message),
                None => return,
            },
        }
    }
}

/// A peer tells of itself alone.
fn answered(monitor: &Monitor, peer: &PeerId, metrics: Vec<Metric>) {
    let own = metrics.into_iter().filter(|metric| metric.peer == *peer);
    for metric in own.take(limits::METRICS_PER_PEER_MAX) {
        monitor.observe(metric);
    }
}

fn take(monitor: &Monitor, message: &GossipMessage) {
    match MetricsMessage::decode(&message.from, &message.body) {
        Ok(message) => message.metrics.into_iter().for_each(|m| monitor.observe(m)),
        Err(e) => tracing::debug!(peer = %message.from, error = %e, "metrics dropped"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipfs_cluster_protocol::{health::PING, time::Timestamp};
    use parking_lot::Mutex;

    use super::*;
    use crate::testing::peer;

    const EVERY: Duration = Duration::from_secs(1);

    fn ping(of: PeerId, taken_at: u64) -> Metric {
        Metric {
            name: PING.into(),
            peer: of,
            value: "{}".into(),
            weight: 0,
            partitionable: false,
            valid: true,
            taken_at: Timestamp(taken_at),
            ttl_ms: 2_500,
        }
    }

    /// A monitor of peer 1 that has heard once of 2 and 3 and hears nothing more; 3 answers when asked.
    #[tokio::test(start_paused = true)]
    async fn who_answers_is_not_alerted_however_much_gossip_is_lost() {
        let monitor = Monitor::new(peer(1), Duration::from_secs(30));
        monitor.set_members(&(1..=3).map(peer).collect());
        monitor.observe(ping(peer(2), 1));
        monitor.observe(ping(peer(3), 1));
        let questions = Arc::new(Mutex::new(Vec::new()));
        let noted = questions.clone();
        let ask: AskMetrics = Arc::new(move |of| {
            noted.lock().push(of.clone());
            let taken_at = 2 + noted.lock().len() as u64;
            let known = if of == peer(3) {
                vec![ping(of, taken_at), ping(peer(2), taken_at)]
            } else {
                vec![]
            };
            async move { known }.boxed()
        });
        let (_gossip, heard) = mpsc::channel(1);
        let watched = watch(monitor.clone(), heard, EVERY, ask);
        assert!(
            tokio::time::timeout(Duration::from_secs(60), watched)
                .await
                .is_err()
        );
        let alerted = monitor.alerts().into_iter().map(|a| a.metric.metric.peer);
        assert_eq!(alerted.collect::<BTreeSet<_>>(), BTreeSet::from([peer(2)]));
        let asked = questions.lock();
        let times = |n| asked.iter().filter(|of| **of == peer(n)).count();
        assert_eq!(times(2), 1, "who is alerted is not asked again");
        assert!((15..=25).contains(&times(3)), "{}", times(3));
    }
}
