//! What the cluster does about pins that lack copies.

use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::id::PeerId;

/// The answer to `GET /repair`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The peer that plans, which is the leader.
    pub leader: Option<PeerId>,
    /// False when the configuration turns repair off.
    pub enabled: bool,
    /// Why nothing is moved at present, empty if it is.
    pub paused: String,
    /// Pins with fewer live copies than their minimum.
    pub urgent: u64,
    /// Further pins that lack copies, or wait to release surplus ones.
    pub lacking: u64,
    /// Pins that lack copies that no peer can take. Counted among the urgent ones.
    #[serde(default)]
    pub stuck: u64,
    /// Peers that are down or are being drained.
    pub peers: Vec<RepairPeer>,
    /// Pins given new places since the leader took over.
    pub moved: u64,
}

/// A peer whose pins need other places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairPeer {
    /// Who.
    pub peer: PeerId,
    /// `down`, `grace` or `draining`.
    pub state: String,
    /// Since when.
    pub since: Time,
    /// When its pins are given new places, zero when that has begun.
    pub repair_at: Time,
    /// Pins still allocated to it.
    pub pins: u64,
}
