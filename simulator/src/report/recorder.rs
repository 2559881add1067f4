//! Looks at all peers as a run goes. It only looks: a run is the same with and without a report.

use ipfs_cluster_node::consensus::RaftStatus;

use super::{EVERY_US, PeerSample, Recording, Sample};
use crate::{
    history::{Answer, History, Request},
    peer::Slot,
    simulation::Simulation,
    world::{HostId, Micros},
};

/// Keeps what is seen.
#[derive(Debug, Default)]
pub struct Recorder {
    recording: Recording,
    /// Requests of the history that were counted already as answered or not.
    counted: usize,
    done: u64,
    lacking: Option<u64>,
    slots: Vec<Slot>,
}

impl Recorder {
    /// Looks at these peers.
    #[must_use]
    pub fn new(slots: Vec<Slot>) -> Self {
        Self {
            slots,
            ..Self::default()
        }
    }

    /// Keeps what is told.
    pub fn tell(&mut self, at: Micros, what: &str) {
        self.recording.events.push((at, what.to_owned()));
    }

    /// Pins that lack copies now.
    pub fn note_lacking(&mut self, pins: u64) {
        self.lacking = Some(pins);
    }

    /// Takes a look, when it is time.
    pub fn step(&mut self, sim: &Simulation, history: &History) {
        let at = sim.now();
        if !at.is_multiple_of(EVERY_US) {
            return;
        }
        let hosts = 1..=self.slots.len();
        let peers = hosts
            .clone()
            .zip(&self.slots)
            .map(|(host, slot)| peer(sim, host, hosts.clone(), slot));
        let peers = peers.collect();
        let requests = self.count(history);
        self.recording.samples.push(Sample {
            at,
            peers,
            requests,
            lacking: self.lacking,
        });
    }

    /// Requests so far, and those that were done. Answers come late, so the last are counted anew.
    fn count(&mut self, history: &History) -> (u64, u64) {
        /// Requests that may still be answered.
        const OPEN_MAX: usize = 4_096;
        let all = history.lock();
        let done = |range: &[Request]| {
            let answers = range.iter().filter_map(|r| r.answer.as_ref());
            answers.filter(|(_, a)| *a != Answer::Refused).count() as u64
        };
        let settled = all.len().saturating_sub(OPEN_MAX).max(self.counted);
        self.done += done(all.get(self.counted..settled).unwrap_or_default());
        self.counted = settled;
        let recent = done(all.get(settled..).unwrap_or_default());
        (all.len() as u64, self.done + recent)
    }

    /// All that was seen.
    #[must_use]
    pub fn finish(self) -> Recording {
        self.recording
    }
}

fn peer(
    sim: &Simulation,
    host: HostId,
    hosts: std::ops::RangeInclusive<HostId>,
    slot: &Slot,
) -> PeerSample {
    let mut world = sim.world().lock();
    let network = &mut world.network;
    let messages = network.messages(host);
    let links = network.links();
    let cut = |other: &HostId| links.is_cut(host, *other) || links.is_cut(*other, host);
    let cut_from = hosts.filter(cut).collect();
    drop(world);
    let status = slot.status(RaftStatus::clone);
    PeerSample {
        up: sim.host(host).is_some_and(crate::host::Host::is_up),
        role: status.as_ref().map(|s| s.role),
        recovering: status.as_ref().is_some_and(|s| s.recovering),
        term: status.as_ref().map_or(0, |s| s.term),
        applied: status.as_ref().map_or(0, |s| s.applied.0),
        messages,
        cut_from,
    }
}
