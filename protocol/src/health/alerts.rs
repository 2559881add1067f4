//! Alerts: raised once, shown newest first, raised again only after they were cleared.

use std::collections::{BTreeSet, VecDeque};

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
    /// What has been raised and not cleared.
    raised: BTreeSet<(PeerId, String)>,
    /// Newest first, also those that were cleared since.
    log: VecDeque<Alert>,
}

impl Alerts {
    /// Raises an alert about a peer's metric, unless it is raised already.
    pub fn raise(&mut self, metric: Received, triggered_at: Timestamp) -> Option<Alert> {
        let key = (metric.metric.peer.clone(), metric.metric.name.clone());
        if !self.raised.insert(key) {
            return None;
        }
        let alert = Alert {
            metric,
            triggered_at,
        };
        self.log.push_front(alert.clone());
        self.log.truncate(ALERTS_MAX);
        Some(alert)
    }

    /// What was alerted about is well again. Says whether it had been raised.
    pub fn clear(&mut self, peer: &PeerId, name: &str) -> bool {
        self.raised.remove(&(peer.clone(), name.to_owned()))
    }

    /// Clears what concerns peers that are no members any more.
    pub fn retain_members(&mut self, members: &BTreeSet<PeerId>) {
        self.raised.retain(|(peer, _)| members.contains(peer));
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Alert> {
        self.log.iter()
    }

    /// Whether this alert is raised now.
    #[must_use]
    pub fn is_raised(&self, peer: &PeerId, name: &str) -> bool {
        self.raised.contains(&(peer.clone(), name.to_owned()))
    }
}
