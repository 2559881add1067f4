//! What would it do to us? An exported pin set goes through a scenario's faults, second by second,
//! with the cluster's own planner, guard and placement; content is bytes that take time to copy.
//!
//! It is a calculation, not a run of whole peers: a hundred thousand pins and a day take seconds.
//! Peer 1 is taken to lead, unless it is out of reach.

mod sizes;
mod timeline;
mod world;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use ipfs_cluster_protocol::{
    export,
    id::{PeerId, Rev, Seq},
    pin::{Holding, Pin},
};

pub use sizes::{Sizes, read_sizes};

use crate::scenario::Scenario;
use world::World;

/// Peers at most: a set of them is a number.
pub const PEERS_MAX: usize = 64;
/// Seconds looked at beyond the scenario's end at most.
const AFTER_MAX: u64 = 7 * 24 * 3_600;

/// What an export does not say.
#[derive(Debug, Clone)]
pub struct Assumptions {
    /// Bytes of each pin whose size is not known.
    pub pin_bytes: u64,
    /// The sizes that are known.
    pub sizes: Sizes,
    /// Pins that repair may move per second.
    pub pins_per_second: f64,
    /// Replication factors of pins that name none.
    pub factors: (i32, i32),
}

/// A pin set and the peers it lies on.
#[derive(Debug, Clone)]
pub struct PinSet {
    /// All pins.
    pub pins: Vec<Pin>,
    /// Everybody who holds one, in the order of their IDs: the first is peer 1.
    pub peers: Vec<PeerId>,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Most pins that had one copy within reach at a moment, and should have had more.
    pub at_risk: u64,
    /// Most pins that had no copy within reach at a moment.
    pub unreachable: u64,
    /// Pins whose every copy is on peers that never come back.
    pub lost: u64,
    /// Bytes copied to make up for what was missing.
    pub bytes_moved: u64,
    /// From the first fault until everything had its copies again; none when that never came.
    pub healed_after: Option<Duration>,
    /// Why repair was paused, when it was.
    pub paused: Option<String>,
    /// What happened, and at which second.
    pub story: Vec<(u64, String)>,
}

/// Reads an export: one pin object per line, as `state export` writes them.
pub fn read(bytes: &[u8], assumptions: &Assumptions) -> Result<PinSet, String> {
    let mut pins = Vec::new();
    let mut peers = BTreeSet::new();
    for (object, number) in export::read(bytes).zip(1..) {
        let object = object.map_err(|e| e.to_string())?.pin;
        let spec = object.spec(assumptions.factors);
        let spec = spec.map_err(|e| format!("pin {number} of the state file: {e}"))?;
        peers.extend(object.allocations.iter().cloned());
        let copies = match spec.holding() {
            Holding::Allocated { max, .. } => u32::try_from(object.allocations.len())
                .unwrap_or(u32::MAX)
                .min(max),
            Holding::Everywhere | Holding::Nobody => 0,
        };
        pins.push(Pin {
            seq: Seq(number),
            rev: Rev(1),
            timestamp: object.submitted_at(),
            allocations: object.allocations,
            copies,
            spec,
        });
    }
    let peers: Vec<PeerId> = peers.into_iter().collect();
    if pins.is_empty() || peers.is_empty() {
        return Err("the state file has no pin that is allocated to a peer".to_owned());
    }
    if peers.len() > PEERS_MAX {
        return Err(format!(
            "the state file names {} peers, {PEERS_MAX} are the most",
            peers.len()
        ));
    }
    Ok(PinSet { pins, peers })
}

/// Lets a scenario happen to a pin set.
#[must_use]
pub fn answer(set: &PinSet, scenario: &Scenario, assumptions: &Assumptions) -> Answer {
    let mut world = World::new(set, scenario, assumptions);
    let lasts = scenario.lasts.0.as_secs();
    let mut first_fault = None;
    let mut healed_at = None;
    for second in 0..lasts + AFTER_MAX {
        let faults = scenario.faults.iter();
        for timed in faults.filter(|timed| timed.at.0.as_secs() == second) {
            first_fault.get_or_insert(second);
            world.happens(second, &timed.fault);
            healed_at = None;
        }
        world.second(second);
        if first_fault.is_some() && world.is_whole() {
            healed_at.get_or_insert(second);
        } else {
            healed_at = None;
        }
        let quiet = healed_at.is_some() || world.is_stuck();
        if second >= lasts && quiet {
            break;
        }
    }
    let healed_after = first_fault.zip(healed_at);
    let healed_after = healed_after.map(|(from, to)| Duration::from_secs(to - from));
    world.finish(healed_after)
}
