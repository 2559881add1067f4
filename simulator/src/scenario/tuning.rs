//! How the peers of a scenario are configured, where it matters for what happens.

use std::time::Duration;

use ipfs_cluster_node::config::{Config, Profile};
use serde::Deserialize;

use crate::span::Span;

/// How often the leader looks for expired pins.
pub const EXPIRY_INTERVAL: Duration = Duration::from_secs(3);

/// Time-outs and sizes of all peers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    /// How long a peer may be down before its pins are copied elsewhere.
    pub repair_grace: Span,
    /// Period of the ping metric; it counts twice as long.
    pub ping_interval: Span,
    /// How often failed pins are tried again at the latest.
    pub recover_interval: Span,
    /// How long a peer tries to bring a write into the log.
    pub write_timeout: Span,
    /// Elections for round trips above 30 ms.
    pub wan: bool,
    /// Length of the log, in KiB, from which on it is made shorter.
    pub log_kib: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            repair_grace: Span(Duration::from_secs(300)),
            ping_interval: Span(Duration::from_secs(15)),
            recover_interval: Span(Duration::from_secs(720)),
            write_timeout: Span(Duration::from_secs(15)),
            wan: false,
            log_kib: 256 << 10,
        }
    }
}

impl Tuning {
    /// Says what makes no sense.
    pub(super) fn check(&self) -> Result<(), String> {
        let second = Duration::from_secs(1);
        for (name, span) in [
            ("repair_grace", self.repair_grace),
            ("ping_interval", self.ping_interval),
            ("recover_interval", self.recover_interval),
            ("write_timeout", self.write_timeout),
        ] {
            if span.0 < second {
                return Err(format!("{name} must be at least 1s, not {span}"));
            }
        }
        if self.log_kib == 0 {
            return Err("log_kib must be at least 1".to_owned());
        }
        Ok(())
    }

    /// Puts it into a peer's configuration.
    pub fn apply(&self, config: &mut Config) {
        config.repair.grace = self.repair_grace.0;
        config.cluster.ping_interval = self.ping_interval.0;
        config.cluster.state_sync_interval = EXPIRY_INTERVAL;
        config.cluster.pin_recover_interval = self.recover_interval.0;
        config.raft.wait_for_leader_timeout = self.write_timeout.0;
        config.raft.log_bytes_min = self.log_kib << 10;
        config.raft.profile = if self.wan {
            Profile::Wan
        } else {
            Profile::Local
        };
    }
}
