//! The report of a run: one page that shows, on one axis of time, what became of every peer.
//!
//! ```text
//!  Recorder (as the run goes) ─▶ Recording ─▶ lanes: SVG ─▶ page: HTML around it
//! ```
//!
//! The page is whole: no script, style, font or picture comes from elsewhere.

mod axis;
mod lacking;
mod lanes;
mod markup;
mod page;
mod recorder;
#[cfg(test)]
mod tests;

pub use lacking::lacking;
pub use page::{Heading, page};
pub use recorder::Recorder;

use ipfs_cluster_node::consensus::Role;

use crate::world::{HostId, Micros};

/// Between two looks.
pub const EVERY_US: Micros = 500_000;

/// What was seen of all peers over a run.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// In order of time, [`EVERY_US`] apart.
    pub samples: Vec<Sample>,
    /// What was told, with the time.
    pub events: Vec<(Micros, String)>,
}

/// All peers at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When.
    pub at: Micros,
    /// One after the other; the first is peer 1.
    pub peers: Vec<PeerSample>,
    /// Requests sent so far, and those answered with success.
    pub requests: (u64, u64),
    /// Pins that lack copies on peers that run, as the furthest state says.
    pub lacking: Option<u64>,
}

/// One peer at one moment.
#[derive(Debug, Clone, Default)]
pub struct PeerSample {
    /// Whether its program runs.
    pub up: bool,
    /// What it is in the consensus; none before it has joined.
    pub role: Option<Role>,
    /// Whether it has yet to catch up with its own past.
    pub recovering: bool,
    /// Its term.
    pub term: u64,
    /// The last entry it has applied.
    pub applied: u64,
    /// Segments that have reached it, so far.
    pub messages: u64,
    /// Peers to or from which nothing passes.
    pub cut_from: Vec<HostId>,
}

impl Recording {
    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Micros {
        let last = self.samples.last().map_or(0, |sample| sample.at);
        let told = self.events.last().map_or(0, |(at, _)| *at);
        last.max(told).max(EVERY_US)
    }

    /// How many peers there are.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.samples.first().map_or(0, |sample| sample.peers.len())
    }

    /// Stretches of time over which something about a peer stays the same, and is of interest.
    fn stretches<T: PartialEq>(
        &self,
        peer: usize,
        of: impl Fn(&PeerSample) -> Option<T>,
    ) -> Vec<(Micros, Micros, T)> {
        let mut all: Vec<(Micros, Micros, T)> = Vec::new();
        let mut open = false;
        for sample in &self.samples {
            let now = sample.peers.get(peer).and_then(&of);
            match (all.last_mut().filter(|_| open), now) {
                (Some(last), Some(now)) if last.2 == now => last.1 = sample.at,
                (_, Some(now)) => {
                    all.push((sample.at.saturating_sub(EVERY_US), sample.at, now));
                    open = true;
                }
                (_, None) => open = false,
            }
        }
        all
    }

    /// How much a count grows per second, from sample to sample.
    fn rates(&self, of: impl Fn(&Sample) -> Option<u64>) -> Vec<(Micros, f64)> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs
            .map(|(before, after)| {
                let seconds = (after.at - before.at) as f64 / 1e6;
                let grown = match (of(before), of(after)) {
                    (Some(before), Some(after)) => after.saturating_sub(before),
                    _ => 0,
                };
                (after.at, grown as f64 / seconds)
            })
            .collect()
    }
}
