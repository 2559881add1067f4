//! Alerts: an alert lasts as long as its cause. It is raised once, shown until the cause is over,
//! and raised anew when it comes back.

use std::collections::{BTreeMap, BTreeSet};

use super::view::Received;
use crate::{id::PeerId, limits::ALERTS_MAX, time::Timestamp};

/// Something a user should look at: a metric that lapsed, or one that says so itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The metric, as it last was.
    pub metric: Received,
    /// When the alert was raised.
    pub triggered_at: Timestamp,
}

/// The alerts of this peer, in memory.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    /// By peer and metric, with the order in which they were raised.
    raised: BTreeMap<(PeerId, String), (u64, Alert)>,
    /// How many were raised so far.
    count: u64,
}

impl Alerts {
    /// Raises an alert about a peer's metric, unless it is raised already or there are too many:
    /// then it is raised once there is room.
    pub fn raise(&mut self, metric: Received, triggered_at: Timestamp) -> Option<Alert> {
        let key = (metric.metric.peer.clone(), metric.metric.name.clone());
        if self.raised.contains_key(&key) || self.raised.len() >= ALERTS_MAX {
            return None;
        }
        let alert = Alert {
            metric,
            triggered_at,
        };
        self.count += 1;
        self.raised.insert(key, (self.count, alert.clone()));
        Some(alert)
    }

    /// What was alerted about is well again. Says whether it had been raised.
    pub fn clear(&mut self, peer: &PeerId, name: &str) -> bool {
        self.raised
            .remove(&(peer.clone(), name.to_owned()))
            .is_some()
    }

    /// Clears what concerns peers that are no members any more.
    pub fn retain_members(&mut self, members: &BTreeSet<PeerId>) {
        self.raised.retain(|(peer, _), _| members.contains(peer));
    }

    /// What is raised now, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<&Alert> {
        let mut raised: Vec<_> = self.raised.values().collect();
        raised.sort_unstable_by_key(|(n, _)| std::cmp::Reverse(*n));
        raised.into_iter().map(|(_, alert)| alert).collect()
    }

    /// Whether this alert is raised now.
    #[must_use]
    pub fn is_raised(&self, peer: &PeerId, name: &str) -> bool {
        self.raised.contains_key(&(peer.clone(), name.to_owned()))
    }
}
