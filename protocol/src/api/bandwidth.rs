//! What went over the cluster's swarm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer to `GET /health/bandwidth`: by protocol ID; the empty one is what no protocol of the
/// cluster's own accounts for (handshakes, gossip, discovery).
pub type Bandwidth = BTreeMap<String, BandwidthStats>;

/// Bytes, and bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BandwidthStats {
    /// Received since the start.
    pub total_in: u64,
    /// Sent since the start.
    pub total_out: u64,
    /// Received per second, of late.
    pub rate_in: f64,
    /// Sent per second, of late.
    pub rate_out: f64,
}
