//! What a placement knows of the peers: standing, metrics, and room that is promised already.

use std::collections::BTreeMap;

use crate::{id::PeerId, metrics::Metric};

/// Whether a peer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is up.
    Up,
    /// It is up and on its way out.
    Draining,
    /// It does not answer.
    Down,
}

/// One metric of one peer, as a placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// Peers of equal value form a partition, if they may.
    pub value: String,
    /// Larger is better.
    pub weight: i64,
    /// Whether peers of equal value form one partition.
    pub partitionable: bool,
}

/// A peer that might take a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub peer: PeerId,
    /// Whether it counts.
    pub standing: Standing,
    /// One per name in `allocate_by`; none where it has no valid value.
    pub metrics: Vec<Option<Weighed>>,
    /// Room for pins that were given to it and have not landed yet.
    pub promised: Promised,
}

/// Room promised to pins that have not landed yet, so that a burst between two metrics does not go
/// to one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promised {
    /// Bytes of pins whose size is known: they count as used.
    pub known_bytes: u64,
    /// A guess for pins whose size is not known. It ranks peers, and keeps nothing away from them: a
    /// guess must not refuse what there may be room for.
    pub guessed_bytes: u64,
}

/// What a pin is guessed to need until its size is known.
const GUESS_BYTES: u64 = 1024 * 1024;

impl Promised {
    /// What a pin of so many bytes needs; 0: nobody knows.
    #[must_use]
    pub const fn to(size: u64) -> Self {
        if size == 0 {
            Self {
                known_bytes: 0,
                guessed_bytes: GUESS_BYTES,
            }
        } else {
            Self {
                known_bytes: size,
                guessed_bytes: 0,
            }
        }
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            known_bytes: self.known_bytes.saturating_add(other.known_bytes),
            guessed_bytes: self.guessed_bytes.saturating_add(other.guessed_bytes),
        }
    }
}

/// All members, as a placement sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CandidateView {
    allocate_by: Vec<String>,
    candidates: BTreeMap<PeerId, Candidate>,
    /// Bytes of what is to be placed, as far as they are known.
    needed_bytes: u64,
}

/// The metric whose weight is the room left: without any, a peer takes no copy.
pub const FREE_SPACE: &str = "freespace";
/// Metrics whose weight is in bytes of room.
const BYTES: [&str; 2] = [FREE_SPACE, "reposize"];

impl CandidateView {
    /// A view of no peer yet.
    #[must_use]
    pub fn new(allocate_by: Vec<String>) -> Self {
        let candidates = BTreeMap::new();
        Self {
            allocate_by,
            candidates,
            needed_bytes: 0,
        }
    }

    /// The same for content of so many bytes: a peer without room for them takes none of it.
    #[must_use]
    pub fn needing(self, needed_bytes: u64) -> Self {
        Self {
            needed_bytes,
            ..self
        }
    }

    /// Adds a member with the metrics that `latest` knows of it: invalid ones do not count.
    pub fn add<'m>(
        &mut self,
        peer: PeerId,
        standing: Standing,
        promised: Promised,
        latest: impl Fn(&str) -> Option<&'m Metric>,
    ) {
        let weighed = |name: &String| {
            let metric = latest(name).filter(|metric| metric.valid)?;
            Some(Weighed {
                value: metric.value.clone(),
                weight: metric.weight,
                partitionable: metric.partitionable,
            })
        };
        let metrics = self.allocate_by.iter().map(weighed).collect();
        self.insert(Candidate {
            peer,
            standing,
            metrics,
            promised,
        });
    }

    /// Adds a member; its metrics must be in the order of `allocate_by`.
    pub fn insert(&mut self, candidate: Candidate) {
        self.candidates.insert(candidate.peer.clone(), candidate);
    }

    /// Promises a peer's room to a pin, for the placements that follow on this view.
    pub fn promise(&mut self, peer: &PeerId, room: Promised) {
        if let Some(candidate) = self.candidates.get_mut(peer) {
            candidate.promised = candidate.promised.and(room);
        }
    }

    /// The same view some moments later: other promises, and content of so many bytes.
    pub fn renew(&mut self, needed_bytes: u64, promised: impl Fn(&PeerId) -> Promised) {
        self.needed_bytes = needed_bytes;
        for (peer, candidate) in &mut self.candidates {
            candidate.promised = promised(peer);
        }
    }

    /// The names of the metrics that decide, the first one first.
    #[must_use]
    pub fn allocate_by(&self) -> &[String] {
        &self.allocate_by
    }

    /// All members, by peer ID.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.values()
    }

    /// Whether a holder's copy counts as one that stays.
    #[must_use]
    pub fn stays(&self, peer: &PeerId) -> bool {
        let found = self.candidates.get(peer);
        found.is_some_and(|candidate| candidate.standing == Standing::Up)
    }

    /// Whether a peer can take a new copy.
    #[must_use]
    pub fn takes(&self, peer: &PeerId) -> bool {
        let Some(candidate) = self.candidates.get(peer) else {
            return false;
        };
        let needed = i128::from(self.needed_bytes.max(1));
        let known = candidate.promised.known_bytes;
        let mut levels = self.allocate_by.iter().enumerate();
        candidate.standing == Standing::Up
            && levels.all(|(level, name)| {
                let weight = self.weight_less(candidate, level, known);
                weight.is_some_and(|weight| name != FREE_SPACE || weight >= needed)
            })
    }

    /// A candidate's weight at a level of `allocate_by`, less all that is promised.
    pub(super) fn weight(&self, candidate: &Candidate, level: usize) -> Option<i128> {
        let Promised {
            known_bytes,
            guessed_bytes,
        } = candidate.promised;
        self.weight_less(candidate, level, known_bytes.saturating_add(guessed_bytes))
    }

    fn weight_less(&self, candidate: &Candidate, level: usize, promised: u64) -> Option<i128> {
        let weighed = candidate.metrics.get(level)?.as_ref()?;
        let name = self.allocate_by.get(level)?;
        let in_bytes = BYTES.contains(&name.as_str());
        let promised = if in_bytes { promised } else { 0 };
        Some(i128::from(weighed.weight) - i128::from(promised))
    }
}
