//! The latest metric of each name and peer.

use std::collections::{BTreeMap, BTreeSet};

use super::alerts::{Alert, Alerts};
use crate::{
    id::PeerId,
    limits::{METRICS_PER_PEER_MAX, METRICS_TTL_MS_MAX},
    metrics::Metric,
    time::Timestamp,
};

/// The metric whose lapse means that a peer may be dead.
pub const PING: &str = "ping";

/// A clock that differs more than this from the median of the members' is wrong.
pub const CLOCK_OFFSET_MAX_MS: u64 = 10_000;

/// A metric and its arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What was said.
    pub metric: Metric,
    /// When it arrived, by this peer's wall clock; to be shown.
    pub received_at: Timestamp,
    /// When it arrived, by this peer's monotonic clock; to count by.
    pub arrived_ms: u64,
}

impl Received {
    /// When it stops counting, by this peer's wall clock; to be shown.
    #[must_use]
    pub fn expire(&self) -> Timestamp {
        self.received_at.plus_ms(self.metric.ttl_ms)
    }

    /// Whether it still counts.
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.arrived_ms) < self.metric.ttl_ms
    }

    /// The sender's wall clock minus ours, as it is now if theirs has gone on as our monotonic clock
    /// has since the arrival: ours may have been set meanwhile.
    fn clock_offset_ms(&self, now_ms: u64, wall: Timestamp) -> i64 {
        let since_ms = now_ms.saturating_sub(self.arrived_ms);
        let theirs = self.metric.taken_at.plus_ms(since_ms);
        i64::try_from(i128::from(theirs.0) - i128::from(wall.0)).unwrap_or(i64::MAX)
    }
}

/// What is known of the members' health.
#[derive(Debug, Clone, Default)]
pub struct HealthView {
    metrics: BTreeMap<PeerId, BTreeMap<String, Received>>,
    /// Members, and since when this peer has been listening to them.
    members: BTreeMap<PeerId, u64>,
    alerts: Alerts,
}

impl HealthView {
    /// Nothing heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who is a member now. What others said is forgotten.
    pub fn set_members(&mut self, members: &BTreeSet<PeerId>, now_ms: u64) {
        self.members.retain(|peer, _| members.contains(peer));
        for peer in members {
            self.members.entry(peer.clone()).or_insert(now_ms);
        }
        self.metrics.retain(|peer, _| members.contains(peer));
        self.alerts.retain_members(members);
    }

    /// Who is a member.
    pub fn members(&self) -> impl Iterator<Item = &PeerId> {
        self.members.keys()
    }

    /// Takes a metric that has just arrived from its peer; says whether it is the latest. Anything
    /// but a member's is dropped, and a late one behind a fresher one too.
    pub fn observe(&mut self, mut metric: Metric, now_ms: u64, wall: Timestamp) -> bool {
        if !self.members.contains_key(&metric.peer) {
            return false;
        }
        metric.ttl_ms = metric.ttl_ms.min(METRICS_TTL_MS_MAX);
        let of_peer = self.metrics.entry(metric.peer.clone()).or_default();
        match of_peer.get(&metric.name) {
            Some(old) if old.metric.taken_at > metric.taken_at && old.is_fresh(now_ms) => {
                return false;
            }
            Some(_) => {}
            None if of_peer.len() >= METRICS_PER_PEER_MAX => {
                of_peer.retain(|_, old| old.is_fresh(now_ms));
                if of_peer.len() >= METRICS_PER_PEER_MAX {
                    return false;
                }
            }
            None => {}
        }
        self.alerts.clear(&metric.peer, &metric.name);
        let received = Received {
            metric,
            received_at: wall,
            arrived_ms: now_ms,
        };
        of_peer.insert(received.metric.name.clone(), received);
        true
    }

    /// The latest metric of a name and peer, fresh or not.
    #[must_use]
    pub fn latest(&self, name: &str, peer: &PeerId) -> Option<&Received> {
        self.metrics.get(peer)?.get(name)
    }

    /// The metric, if it is valid and counts.
    #[must_use]
    pub fn fresh(&self, name: &str, peer: &PeerId, now_ms: u64) -> Option<&Received> {
        self.latest(name, peer)
            .filter(|r| r.metric.valid && r.is_fresh(now_ms))
    }

    /// Valid metrics of a name that count, by peer.
    pub fn fresh_of(&self, name: &str, now_ms: u64) -> impl Iterator<Item = &Received> {
        self.metrics
            .values()
            .filter_map(move |of_peer| of_peer.get(name))
            .filter(move |r| r.metric.valid && r.is_fresh(now_ms))
    }

    /// Every name that a member has told a metric of.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.metrics
            .values()
            .flat_map(|m| m.keys().cloned())
            .collect()
    }

    /// Members whose ping has lapsed, or has never come since `first_ms` after listening began.
    #[must_use]
    pub fn lapsed(&self, first_ms: u64, now_ms: u64) -> BTreeSet<PeerId> {
        let lapsed = |(peer, since): &(&PeerId, &u64)| match self.latest(PING, peer) {
            Some(ping) => !ping.is_fresh(now_ms),
            None => now_ms.saturating_sub(**since) >= first_ms,
        };
        let lapsed = self.members.iter().filter(lapsed);
        lapsed.map(|(peer, _)| peer.clone()).collect()
    }

    /// Members with a metric that has lapsed and is not alerted yet.
    #[must_use]
    pub fn silent(&self, now_ms: u64) -> BTreeSet<PeerId> {
        let lapsed = |peer: &PeerId, of_peer: &BTreeMap<String, Received>| {
            let mut all = of_peer.iter();
            all.any(|(name, r)| !r.is_fresh(now_ms) && !self.alerts.is_raised(peer, name))
        };
        let silent = self.metrics.iter().filter(|(peer, m)| lapsed(peer, m));
        silent.map(|(peer, _)| peer.clone()).collect()
    }

    /// What a peer told and still counts, each with what is left of its TTL.
    #[must_use]
    pub fn told_by(&self, peer: &PeerId, now_ms: u64) -> Vec<Metric> {
        let of_peer = self
            .metrics
            .get(peer)
            .into_iter()
            .flat_map(BTreeMap::values);
        let fresh = of_peer.filter(|r| r.is_fresh(now_ms));
        fresh
            .map(|r| Metric {
                ttl_ms: r.metric.ttl_ms - now_ms.saturating_sub(r.arrived_ms),
                ..r.metric.clone()
            })
            .collect()
    }

    /// Raises an alert for every member's metric that has lapsed since the last check.
    pub fn check(&mut self, now_ms: u64, wall: Timestamp) -> Vec<Alert> {
        let lapsed = self
            .metrics
            .values()
            .flat_map(BTreeMap::values)
            .filter(|r| !r.is_fresh(now_ms));
        lapsed
            .filter_map(|r| self.alerts.raise(r.clone(), wall))
            .collect()
    }

    /// The alerts.
    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// The alerts, to raise and clear others than lapsed metrics.
    pub fn alerts_mut(&mut self) -> &mut Alerts {
        &mut self.alerts
    }

    /// Whether the clocks of more than half of the members, its own included, show what this peer's
    /// shows, give or take [`CLOCK_OFFSET_MAX_MS`]: no two halves can say so of different times.
    #[must_use]
    pub fn clock_is_confirmed(&self, own: &PeerId, now_ms: u64, wall: Timestamp) -> bool {
        let offsets = self.clock_offsets_ms(own, now_ms, wall);
        let agree = offsets.filter(|ms| ms.unsigned_abs() <= CLOCK_OFFSET_MAX_MS);
        (agree.count() + 1) * 2 > self.members.len()
    }

    /// How far this peer's wall clock, which shows `wall`, is ahead of the median of the members'
    /// clocks, its own included, as told by fresh pings. `own` is this peer.
    #[must_use]
    pub fn clock_ahead_ms(&self, own: &PeerId, now_ms: u64, wall: Timestamp) -> i64 {
        let mut offsets: Vec<i64> = self.clock_offsets_ms(own, now_ms, wall).collect();
        offsets.push(0);
        offsets.sort_unstable();
        let upper = offsets[offsets.len() / 2];
        let lower = offsets[(offsets.len() - 1) / 2];
        // Of an even number the middle pair's one that is nearer to us: with two clocks that differ
        // nobody can tell which is wrong.
        let median = if upper.unsigned_abs() < lower.unsigned_abs() {
            upper
        } else {
            lower
        };
        median.saturating_neg()
    }

    /// How far the other members' clocks are ahead of this peer's, as told by fresh pings.
    fn clock_offsets_ms(
        &self,
        own: &PeerId,
        now_ms: u64,
        wall: Timestamp,
    ) -> impl Iterator<Item = i64> {
        self.fresh_of(PING, now_ms)
            .filter(|r| r.metric.peer != *own)
            .map(move |r| r.clock_offset_ms(now_ms, wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::ALERTS_MAX, state::tests::peer};

    fn metric(n: u8, name: &str, taken_at: u64) -> Metric {
        Metric {
            name: name.into(),
            peer: peer(n),
            value: String::new(),
            weight: i64::from(n),
            partitionable: false,
            valid: true,
            taken_at: Timestamp(taken_at),
            ttl_ms: 1000,
        }
    }

    fn view(members: u8) -> HealthView {
        let mut view = HealthView::new();
        view.set_members(&(1..=members).map(peer).collect(), 0);
        view
    }

    #[test]
    fn a_metric_counts_for_its_ttl_from_its_arrival() {
        let mut view = view(1);
        // The sender's clock is years behind: it does not matter.
        assert!(view.observe(metric(1, PING, 5), 100, Timestamp(1_000_000)));
        assert!(view.fresh(PING, &peer(1), 1099).is_some());
        assert!(view.fresh(PING, &peer(1), 1100).is_none());
        let latest = view.latest(PING, &peer(1)).unwrap();
        assert_eq!(latest.expire(), Timestamp(1_001_000));
        assert_eq!(view.names().into_iter().collect::<Vec<_>>(), [PING]);
    }

    #[test]
    fn a_late_metric_does_not_hide_a_fresher_one() {
        let mut view = view(1);
        assert!(view.observe(metric(1, PING, 500), 0, Timestamp(0)));
        assert!(!view.observe(metric(1, PING, 400), 10, Timestamp(0)));
        // But a clock that was set back is believed once the old value has lapsed.
        assert!(view.observe(metric(1, PING, 400), 2000, Timestamp(0)));
    }

    #[test]
    fn strangers_and_too_many_names_are_dropped() {
        let mut view = view(1);
        assert!(!view.observe(metric(2, PING, 1), 0, Timestamp(0)));
        for i in 0..METRICS_PER_PEER_MAX {
            assert!(view.observe(metric(1, &format!("m{i}"), 1), 0, Timestamp(0)));
        }
        assert!(!view.observe(metric(1, "more", 1), 0, Timestamp(0)));
        assert!(view.observe(metric(1, "more", 1), 5000, Timestamp(0)));
    }

    #[test]
    fn silence_is_alerted_once_until_a_fresh_value_and_then_again() {
        let mut view = view(2);
        view.observe(metric(1, PING, 1), 0, Timestamp(0));
        view.observe(metric(2, PING, 1), 900, Timestamp(0));
        assert!(view.check(999, Timestamp(7)).is_empty());
        let raised = view.check(1000, Timestamp(7));
        assert_eq!(raised.len(), 1);
        assert_eq!(raised[0].metric.metric.peer, peer(1));
        assert_eq!(view.lapsed(5000, 1000), BTreeSet::from([peer(1)]));
        assert!(view.check(1001, Timestamp(8)).is_empty());
        let times = |view: &HealthView| -> Vec<u64> {
            let alerts = view.alerts().newest_first().into_iter();
            alerts.map(|a| a.triggered_at.0).collect()
        };
        assert_eq!(times(&view), [7], "it lasts");
        view.observe(metric(1, PING, 2), 1500, Timestamp(0));
        assert_eq!(times(&view), [0; 0], "it is over");
        assert_eq!(view.check(2600, Timestamp(9)).len(), 2);
        view.observe(metric(1, PING, 3), 2700, Timestamp(0));
        assert_eq!(times(&view), [9]);
    }

    #[test]
    fn what_is_passed_on_counts_no_longer_than_at_its_source() {
        let mut view = view(2);
        view.observe(metric(1, PING, 1), 0, Timestamp(0));
        view.observe(metric(1, "freespace", 1), 500, Timestamp(0));
        let told = view.told_by(&peer(1), 700);
        let left: Vec<_> = told.iter().map(|m| (m.name.as_str(), m.ttl_ms)).collect();
        assert_eq!(left, [("freespace", 800), (PING, 300)]);
        assert_eq!(
            view.told_by(&peer(1), 1000).len(),
            1,
            "what has lapsed is not passed on"
        );
        assert!(view.told_by(&peer(2), 700).is_empty());
        // Who is silent is asked until it is alerted.
        assert!(view.silent(999).is_empty());
        assert_eq!(view.silent(1000), BTreeSet::from([peer(1)]));
        view.check(1000, Timestamp(1));
        assert!(view.silent(1000).is_empty());
    }

    #[test]
    fn no_alert_is_crowded_out_by_later_ones() {
        let mut view = view(1);
        let received = |name: String| Received {
            metric: metric(1, &name, 1),
            received_at: Timestamp(0),
            arrived_ms: 0,
        };
        for i in 0..ALERTS_MAX {
            let raised = view
                .alerts_mut()
                .raise(received(format!("m{i}")), Timestamp(1));
            assert!(raised.is_some());
        }
        assert!(
            view.alerts_mut()
                .raise(received("more".into()), Timestamp(2))
                .is_none()
        );
        assert!(view.alerts().is_raised(&peer(1), "m0"));
        assert!(view.alerts_mut().clear(&peer(1), "m7"));
        assert!(
            view.alerts_mut()
                .raise(received("more".into()), Timestamp(2))
                .is_some()
        );
    }

    #[test]
    fn a_member_that_never_pinged_lapses_after_a_while() {
        let mut view = view(1);
        assert!(view.lapsed(5000, 4999).is_empty());
        assert_eq!(view.lapsed(5000, 5000).len(), 1);
        view.set_members(&BTreeSet::new(), 5000);
        assert!(view.lapsed(5000, 9999).is_empty());
    }

    #[test]
    fn a_removed_member_is_forgotten() {
        let mut view = view(2);
        view.observe(metric(1, PING, 1), 0, Timestamp(0));
        view.check(5000, Timestamp(0));
        view.set_members(&BTreeSet::from([peer(2)]), 6000);
        assert!(view.latest(PING, &peer(1)).is_none());
        assert!(!view.alerts().is_raised(&peer(1), PING));
    }

    #[test]
    fn the_clock_is_compared_with_the_median_of_all() {
        let mut view = view(5);
        let wall = Timestamp(100_000);
        assert_eq!(view.clock_ahead_ms(&peer(1), 0, wall), 0);
        view.observe(metric(2, PING, 70_000), 0, wall);
        // Two clocks: who is to say?
        assert_eq!(view.clock_ahead_ms(&peer(1), 0, wall), 0);
        view.observe(metric(3, PING, 71_000), 0, wall);
        assert_eq!(view.clock_ahead_ms(&peer(1), 0, wall), 29_000);
        view.observe(metric(4, PING, 100_000), 0, wall);
        view.observe(metric(5, PING, 100_100), 0, wall);
        assert_eq!(view.clock_ahead_ms(&peer(1), 0, wall), 0);
    }

    #[test]
    fn a_clock_is_confirmed_by_more_than_half_of_all() {
        let mut view = view(3);
        let confirmed = |view: &HealthView, wall| {
            let wall = Timestamp(wall);
            view.clock_is_confirmed(&peer(1), 0, wall)
        };
        assert!(!confirmed(&view, 100_000), "nobody was heard yet");
        view.observe(metric(2, PING, 100_000), 0, Timestamp(100_000));
        assert!(confirmed(&view, 105_000));
        assert!(!confirmed(&view, 120_000), "one of two is wrong");
        view.observe(metric(3, PING, 120_000), 0, Timestamp(120_000));
        assert!(confirmed(&view, 120_000));
        let alone = HealthView::new();
        assert!(confirmed(&alone, 120_000));
    }

    #[test]
    fn a_clock_that_is_set_is_off_before_anybody_speaks_again() {
        let mut view = view(3);
        for n in [2, 3] {
            view.observe(metric(n, PING, 100_000), 0, Timestamp(100_000));
        }
        let ahead = |wall| view.clock_ahead_ms(&peer(1), 500, Timestamp(wall));
        assert_eq!(ahead(100_500), 0);
        assert_eq!(ahead(121_500), 21_000);
        assert_eq!(ahead(79_500), -21_000);
    }
}
