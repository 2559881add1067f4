//! The handle on the view of the members' health.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipfs_cluster_protocol::{
    health::{Alert, CLOCK_OFFSET_MAX_MS, HealthView, PING, Received},
    id::PeerId,
    metrics::Metric,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{ping::Ping, wall_clock};

/// The name under which a clock that is off is alerted.
pub const CLOCK: &str = "clock";

#[derive(Debug)]
struct Shared {
    local: PeerId,
    start: Instant,
    /// How long a member's first ping may take.
    first_ping_ms: u64,
    view: Mutex<HealthView>,
    /// Counts what was heard.
    version: AtomicU64,
    /// A ping came with another value than the one before.
    pings_changed: Notify,
}

/// What this peer knows of the members' health. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Shared>);

impl Monitor {
    /// Nothing heard yet. `ping_ttl` is how long a ping counts, and how long the first may take.
    #[must_use]
    pub fn new(local: PeerId, ping_ttl: Duration) -> Self {
        let first_ping_ms = u64::try_from(ping_ttl.as_millis()).unwrap_or(u64::MAX);
        Self(Arc::new(Shared {
            local,
            start: Instant::now(),
            first_ping_ms,
            view: Mutex::new(HealthView::new()),
            version: AtomicU64::new(0),
            pings_changed: Notify::new(),
        }))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Who is a member now.
    pub fn set_members(&self, members: &BTreeSet<PeerId>) {
        let now = self.now_ms();
        self.0.view.lock().set_members(members, now);
        self.0.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a metric that its peer has just told, or this peer of itself.
    pub fn observe(&self, metric: Metric) {
        let now = self.now_ms();
        let mut view = self.0.view.lock();
        let is_ping = metric.name == PING && metric.peer != self.0.local;
        let before = view.latest(PING, &metric.peer).filter(|_| is_ping);
        let changed = is_ping && before.is_none_or(|b| b.metric.value != metric.value);
        let (name, peer) = (metric.name.clone(), metric.peer.clone());
        let was_raised = view.alerts().is_raised(&peer, &name);
        let taken = view.observe(metric, now, wall_clock());
        drop(view);
        self.0.version.fetch_add(1, Ordering::Relaxed);
        if taken && was_raised {
            tracing::info!(name, %peer, "the alert is over: the metric arrives again");
        }
        if taken && changed {
            self.0.pings_changed.notify_one();
        }
    }

    /// Grows with every metric that is told and every change of the members.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Relaxed)
    }

    /// A member's metric, if it is valid and counts.
    #[must_use]
    pub fn fresh(&self, name: &str, peer: &PeerId) -> Option<Metric> {
        let now = self.now_ms();
        let view = self.0.view.lock();
        view.fresh(name, peer, now).map(|r| r.metric.clone())
    }

    /// When a member's latest metric of a name came, if that is valid and counts.
    pub(crate) fn arrived(&self, name: &str, peer: &PeerId) -> Option<Instant> {
        let now = self.now_ms();
        let view = self.0.view.lock();
        let received = view.fresh(name, peer, now)?;
        self.0
            .start
            .checked_add(Duration::from_millis(received.arrived_ms))
    }

    /// Valid metrics of a name that count, by peer.
    #[must_use]
    pub fn metrics(&self, name: &str) -> Vec<Received> {
        let now = self.now_ms();
        self.0.view.lock().fresh_of(name, now).cloned().collect()
    }

    /// Every name that a member has told a metric of.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.0.view.lock().names()
    }

    /// What a member last said of itself, however long ago.
    #[must_use]
    pub fn ping(&self, peer: &PeerId) -> Option<Ping> {
        let view = self.0.view.lock();
        Ping::from_value(&view.latest(PING, peer)?.metric.value)
    }

    /// What the other members whose pings count say of themselves.
    #[must_use]
    pub fn pings_of_others(&self) -> BTreeMap<PeerId, Ping> {
        let now = self.now_ms();
        let view = self.0.view.lock();
        view.fresh_of(PING, now)
            .filter(|r| r.metric.peer != self.0.local)
            .filter_map(|r| Some((r.metric.peer.clone(), Ping::from_value(&r.metric.value)?)))
            .collect()
    }

    /// Resolves when another member's ping says something new. For one waiter.
    pub(crate) async fn pings_changed(&self) {
        self.0.pings_changed.notified().await;
    }

    /// Other members whose pings have lapsed, or never came.
    #[must_use]
    pub fn lapsed(&self) -> BTreeSet<PeerId> {
        let now = self.now_ms();
        let view = self.0.view.lock();
        let mut lapsed = view.lapsed(self.0.first_ping_ms, now);
        lapsed.remove(&self.0.local);
        lapsed
    }

    /// Whether this member's pings have lapsed, or never came.
    #[must_use]
    pub fn is_lapsed(&self, peer: &PeerId) -> bool {
        self.lapsed().contains(peer)
    }

    /// The alerts whose causes are not over, newest first.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let view = self.0.view.lock();
        let alerts = view.alerts().newest_first();
        alerts.into_iter().cloned().collect()
    }

    /// Raises an alert of another kind about a peer, unless it is raised already.
    pub fn raise(&self, name: &str, peer: &PeerId, value: String) {
        let wall = wall_clock();
        let metric = Received {
            metric: Metric {
                name: name.to_owned(),
                peer: peer.clone(),
                value,
                weight: 0,
                partitionable: false,
                valid: true,
                taken_at: wall,
                ttl_ms: 0,
            },
            received_at: wall,
            arrived_ms: self.now_ms(),
        };
        let raised = self.0.view.lock().alerts_mut().raise(metric, wall);
        if let Some(alert) = raised {
            let Metric {
                name, peer, value, ..
            } = &alert.metric.metric;
            tracing::warn!(name, %peer, value, "alert");
        }
    }

    /// What [`Self::raise`] told of is over.
    pub fn clear(&self, name: &str, peer: &PeerId) {
        if self.0.view.lock().alerts_mut().clear(peer, name) {
            tracing::info!(name, %peer, "the alert is over");
        }
    }

    /// Whether this peer's wall clock is too far off the median of the members'.
    #[must_use]
    pub fn clock_is_off(&self) -> bool {
        self.clock_ahead_ms().unsigned_abs() > CLOCK_OFFSET_MAX_MS
    }

    /// Whether more than half of the members' clocks show what this peer's wall clock shows.
    #[must_use]
    pub fn clock_is_confirmed(&self) -> bool {
        let (now, wall) = (self.now_ms(), wall_clock());
        let view = self.0.view.lock();
        view.clock_is_confirmed(&self.0.local, now, wall)
    }

    /// How far this peer's wall clock is ahead of the median of the members'.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> i64 {
        let (now, wall) = (self.now_ms(), wall_clock());
        self.0.view.lock().clock_ahead_ms(&self.0.local, now, wall)
    }

    /// Others with something that has lapsed and is not alerted yet.
    pub(super) fn silent(&self) -> BTreeSet<PeerId> {
        let mut silent = self.0.view.lock().silent(self.now_ms());
        silent.remove(&self.0.local);
        silent
    }

    /// What this peer has told of itself and still counts.
    pub(crate) fn told(&self) -> Vec<Metric> {
        self.0.view.lock().told_by(&self.0.local, self.now_ms())
    }

    /// Raises alerts for what has lapsed since the last look, and about the clock.
    pub(super) fn check(&self) {
        let now = self.now_ms();
        let raised = self.0.view.lock().check(now, wall_clock());
        for alert in raised {
            let Metric { name, peer, .. } = &alert.metric.metric;
            tracing::warn!(name, %peer, "alert: the metric has expired");
        }
        if self.clock_is_off() {
            let ahead = self.clock_ahead_ms();
            let text = format!("{ahead} ms ahead of the median of the members' clocks");
            self.raise(CLOCK, &self.0.local, text);
        } else {
            self.clear(CLOCK, &self.0.local);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;
    use ipfs_cluster_protocol::time::Timestamp;

    fn ping(n: u8, value: &str, clock_ahead_ms: i64) -> Metric {
        Metric {
            name: PING.into(),
            peer: peer(n),
            value: value.into(),
            weight: 0,
            partitionable: false,
            valid: true,
            taken_at: Timestamp(wall_clock().0.saturating_add_signed(clock_ahead_ms)),
            ttl_ms: 30_000,
        }
    }

    fn monitor(members: u8) -> Monitor {
        let monitor = Monitor::new(peer(1), Duration::from_secs(30));
        monitor.set_members(&(1..=members).map(peer).collect());
        monitor
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_member_lapses_and_is_alerted_once() {
        let monitor = monitor(3);
        monitor.observe(ping(2, "{}", 0));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(monitor.lapsed(), BTreeSet::new());
        monitor.observe(ping(2, "{}", 0));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(monitor.lapsed(), BTreeSet::from([peer(3)]));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(monitor.is_lapsed(&peer(2)));
        assert!(
            !monitor.is_lapsed(&peer(1)),
            "this peer itself never lapses"
        );
        monitor.check();
        monitor.check();
        assert_eq!(monitor.alerts().len(), 1);
        assert!(monitor.fresh(PING, &peer(2)).is_none());
        assert!(
            monitor.ping(&peer(2)).is_some(),
            "the last word is still known"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_off_the_median_is_alerted_until_it_is_right() {
        let monitor = monitor(3);
        monitor.observe(ping(2, "{}", 60_000));
        monitor.observe(ping(3, "{}", 61_000));
        assert!(monitor.clock_is_off());
        monitor.check();
        monitor.check();
        let alerts = monitor.alerts();
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0].metric.metric.name, CLOCK);
        tokio::time::advance(Duration::from_secs(31)).await;
        monitor.observe(ping(2, "{}", 0));
        monitor.observe(ping(3, "{}", 0));
        assert!(!monitor.clock_is_off());
        monitor.check();
        assert_eq!(monitor.alerts(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_is_off_before_the_next_ping() {
        let monitor = monitor(3);
        monitor.observe(ping(2, "{}", 0));
        monitor.observe(ping(3, "{}", 0));
        assert!(!monitor.clock_is_off());
        // Time passes, and the wall clock shows what it did: it was set back.
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(monitor.clock_is_off());
    }
}
