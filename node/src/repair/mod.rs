//! Keeps pins at their number of copies, while this peer leads: notices who is down, plans (the
//! plan is `protocol::repair`), and carries the plan out within a budget.
//!
//! Nothing here is remembered but cursors and timers: another leader starts from the state again.

mod carry;
mod describe;
mod health;
mod round;
mod situation;
mod stuck;

use std::{sync::Arc, time::Duration};

use ipfs_cluster_protocol::api::repair as api;
use parking_lot::Mutex;

pub(crate) use self::round::run;
use crate::{cluster::leader::Leader, consensus::Consensus, monitor::Monitor, net::Net};

/// What repair is told of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct RepairSettings {
    /// Off: pins of peers that are down stay where they are.
    pub(crate) enabled: bool,
    /// How long a pin stays with a peer that is down.
    pub(crate) grace: Duration,
    /// Pins that get new places per second, at most.
    pub(crate) pins_per_second: f64,
}

/// The parts repair works with.
#[derive(Debug, Clone)]
pub(crate) struct RepairParts {
    pub(crate) leader: Leader,
    pub(crate) consensus: Consensus,
    pub(crate) monitor: Monitor,
    pub(crate) net: Net,
    pub(crate) settings: RepairSettings,
    pub(crate) report: Repair,
}

/// What repair says of itself. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Repair(Arc<Mutex<api::Repair>>);

impl Repair {
    /// As of the last round of this peer.
    #[must_use]
    pub fn report(&self) -> api::Repair {
        self.0.lock().clone()
    }

    fn publish(&self, report: api::Repair) {
        *self.0.lock() = report;
    }
}
