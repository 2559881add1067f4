//! Metrics that peers tell each other.

use serde::{Deserialize, Serialize};

use crate::{id::PeerId, time::Timestamp};

/// One value of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// `ping`, `freespace`, `reposize`, `pinqueue`, `tag:<key>`.
    pub name: String,
    /// Whose.
    pub peer: PeerId,
    /// As shown to users.
    pub value: String,
    /// Sorts candidates, larger is better.
    pub weight: i64,
    /// Whether peers of equal value form one failure domain.
    pub partitionable: bool,
    /// False when the peer could not measure it.
    pub valid: bool,
    /// When the sender took it, by its own clock.
    pub taken_at: Timestamp,
    /// How long it counts, in milliseconds, from its arrival.
    pub ttl_ms: u64,
}
