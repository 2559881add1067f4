//! Telling the metrics: each at half its TTL, a failed one at a quarter, all at once when somebody
//! new can hear them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use ipfs_cluster_protocol::{gossip::MetricsMessage, metrics::Metric};
use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    time::{Instant, sleep_until},
};

use super::{
    sample::{Kind, Sampler, Settings, Sizes},
    swarm,
};
use crate::{
    ipfs::SharedIpfs,
    monitor::Monitor,
    net::{Net, PeerEvent, Topic},
    status::StatusTables,
    worker::Workers,
};

/// A new peer has subscribed by then.
const SOON: Duration = Duration::from_millis(500);
/// And again, should that have been too early.
const LATER: Duration = Duration::from_secs(3);

/// Tells the informer to speak. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Informer(Arc<Notify>);

impl Informer {
    /// Tells every metric at once, as after a join.
    pub fn publish_now(&self) {
        self.0.notify_one();
    }
}

/// Starts telling the metrics of this peer, and connecting its IPFS node to the others'.
pub fn start(
    settings: Settings,
    net: &Net,
    ipfs: &SharedIpfs,
    (tables, sizes): (&StatusTables, Sizes),
    monitor: &Monitor,
    workers: &mut Workers,
) -> Informer {
    let informer = Informer(Arc::new(Notify::new()));
    let sampler = Sampler {
        settings,
        local: net.local_peer().clone(),
        ipfs: ipfs.clone(),
        tables: tables.clone(),
        sizes,
    };
    let publisher = Publisher {
        sampler,
        net: net.clone(),
        monitor: monitor.clone(),
        wake: informer.0.clone(),
    };
    workers.spawn("informer", publisher.run());
    workers.spawn("ipfs swarm", swarm::run(ipfs.clone(), monitor.clone()));
    informer
}

struct Publisher {
    sampler: Sampler,
    net: Net,
    monitor: Monitor,
    wake: Arc<Notify>,
}

/// What was taken of a kind.
type Taken = (Kind, Vec<Metric>);

impl Publisher {
    async fn run(self) {
        let kinds = self.sampler.settings.kinds();
        let mut pace = Pace::new(&kinds, Instant::now());
        let mut events = self.net.events();
        // Each kind is taken by itself: a node that counts its blocks for a minute holds up no ping.
        let mut taking = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = self.wake.notified() => pace.all_at(Instant::now()),
                event = events.recv() => match event {
                    Ok(PeerEvent::Connected(_)) | Err(RecvError::Lagged(_)) => {
                        pace.all_at(Instant::now() + SOON);
                        pace.again_at(Instant::now() + LATER);
                    }
                    Ok(PeerEvent::Disconnected(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                Some(first) = taking.next() => {
                    // Those that were quick go in one message.
                    let mut all = vec![first];
                    while let Some(Some(next)) = taking.next().now_or_never() {
                        all.push(next);
                    }
                    self.tell(&kinds, all, &mut pace).await;
                }
                () = sleep_until(pace.next()) => {
                    for kind in pace.take_due(Instant::now()) {
                        taking.push(self.take(kind));
                    }
                }
            }
        }
    }

    async fn take(&self, kind: Kind) -> Taken {
        (kind, self.sampler.take(kind).await)
    }

    async fn tell(&self, kinds: &BTreeMap<Kind, Duration>, taken: Vec<Taken>, pace: &mut Pace) {
        let mut metrics: Vec<Metric> = Vec::new();
        for (kind, taken) in taken {
            let failed = taken.iter().any(|m| !m.valid);
            if let Some(ttl) = kinds.get(&kind) {
                pace.told(kind, Instant::now(), *ttl, failed);
            }
            metrics.extend(taken);
        }
        for metric in &metrics {
            self.monitor.observe(metric.clone());
        }
        let body = MetricsMessage { metrics }.encode();
        if let Err(e) = self.net.publish(Topic::Metrics, body).await {
            tracing::trace!(error = %e, "metrics not published");
        }
    }
}

/// When to tell what next.
#[derive(Debug)]
struct Pace {
    /// Of those that are not being taken now.
    due: BTreeMap<Kind, Instant>,
    again: Option<Instant>,
    never: Instant,
}

impl Pace {
    fn new(kinds: &BTreeMap<Kind, Duration>, now: Instant) -> Self {
        Self {
            due: kinds.keys().map(|k| (*k, now)).collect(),
            again: None,
            never: now + Duration::from_secs(365 * 24 * 3600),
        }
    }

    fn all_at(&mut self, at: Instant) {
        for due in self.due.values_mut() {
            *due = (*due).min(at);
        }
    }

    fn again_at(&mut self, at: Instant) {
        self.again = Some(at);
    }

    fn next(&self) -> Instant {
        let due = self.due.values().copied();
        due.chain(self.again).min().unwrap_or(self.never)
    }

    /// Those to be taken now; none of them is due again before it was told.
    fn take_due(&mut self, now: Instant) -> Vec<Kind> {
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            self.all_at(now);
        }
        let due = self.due.extract_if(.., |_, at| *at <= now);
        due.map(|(kind, _)| kind).collect()
    }

    fn told(&mut self, kind: Kind, now: Instant, ttl: Duration, failed: bool) {
        let wait = if failed { ttl / 4 } else { ttl / 2 };
        self.due
            .insert(kind, now + wait.max(Duration::from_millis(50)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_kind_has_its_pace_and_a_failure_doubles_it() {
        let ttl = Duration::from_secs(30);
        let kinds = BTreeMap::from([(Kind::Ping, ttl), (Kind::Disk, ttl)]);
        let start = Instant::now();
        let mut pace = Pace::new(&kinds, start);
        assert_eq!(pace.take_due(start), [Kind::Ping, Kind::Disk]);
        assert!(
            pace.take_due(start + ttl).is_empty(),
            "they are being taken"
        );
        pace.told(Kind::Ping, start, ttl, false);
        pace.told(Kind::Disk, start, ttl, true);
        assert_eq!(pace.next(), start + ttl / 4);
        assert_eq!(pace.take_due(start + ttl / 4), [Kind::Disk]);
        pace.told(Kind::Disk, start + ttl / 4, ttl, true);
        assert_eq!(pace.take_due(start + ttl / 2), [Kind::Ping, Kind::Disk]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_listener_hears_everything_soon_and_again() {
        let ttl = Duration::from_secs(30);
        let kinds = BTreeMap::from([(Kind::Ping, ttl)]);
        let start = Instant::now();
        let mut pace = Pace::new(&kinds, start);
        pace.told(Kind::Ping, start, ttl, false);
        pace.all_at(start + SOON);
        pace.again_at(start + LATER);
        assert_eq!(pace.take_due(start + SOON), [Kind::Ping]);
        pace.told(Kind::Ping, start + SOON, ttl, false);
        assert_eq!(pace.next(), start + LATER);
        assert_eq!(pace.take_due(start + LATER), [Kind::Ping]);
        pace.told(Kind::Ping, start + LATER, ttl, false);
        assert_eq!(pace.next(), start + LATER + ttl / 2);
    }
}
