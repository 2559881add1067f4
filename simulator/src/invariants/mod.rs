//! What must hold at every moment of every run: one property per file.
//!
//! | property | file | from |
//! |---|---|---|
//! | at most one leader per term | `election_safety` | Raft §5.2 |
//! | a peer's term never falls, nor is it forgotten | `term_never_falls` | Raft §5.1, persistent state |
//! | one entry per index and term, with one past | `log_matching` | Raft §5.3 |
//! | what is committed is in the log of later leaders | `leader_completeness` | Raft §5.4 |
//! | equal state at equal index | `equal_state` | Raft §5.4.3, state machine safety |
//! | what a peer has applied never falls within a life | `applied_never_falls` | |
//! | log time never falls | `log_time_never_falls` | |
//! | each state is sound in itself | `sound_state` | `protocol::state::check_invariants` |
//! | a pin has its least number of allocations after a release | `replica_bounds` | |
//! | new pins go where users wish, and over the zones | `placement` | |
//! | the last copy of a pin is not let go | `no_cid_lost` | |
//! | a replacement holds before a pin is taken away | `make_before_break` | |
//! | nothing is unpinned that the cluster did not order | `ordered_unpins` | |
//! | what users pinned past the cluster stays | `foreign_pins_stay` | |
//! | connections, bytes under way, memory are bounded | `bounded_load` | |
//!
//! `holders` is what several of them remember. What clients were promised is `oracle`'s (what a peer
//! has applied never falls as clients see it, too); what must come true in the end, tables that
//! converge among it, is `run::settle`'s.

mod applied_never_falls;
mod bounded_load;
mod election_safety;
mod equal_state;
mod foreign_pins_stay;
mod holders;
mod leader_completeness;
mod log_matching;
mod log_time_never_falls;
mod make_before_break;
mod no_cid_lost;
mod ordered_unpins;
mod placement;
mod replica_bounds;
mod sound_state;
mod term_never_falls;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use ipfs_cluster_protocol::id::PeerId;

use self::holders::Machines;
use crate::{observe::Seen, world::HostId};

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.what)
    }
}

/// A property, judged by what is seen at the peers.
pub trait Invariant: fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Says how `seen` contradicts it.
    fn check(&mut self, seen: &Seen) -> Result<(), String>;
}

/// All of them.
#[derive(Debug)]
pub struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    /// For peers on these machines, in these zones.
    #[must_use]
    pub fn new(machines: BTreeMap<PeerId, HostId>, zones: BTreeMap<PeerId, String>) -> Self {
        let machines = Machines(machines);
        Self(vec![
            Box::new(election_safety::ElectionSafety::default()),
            Box::new(term_never_falls::TermNeverFalls::default()),
            Box::new(log_matching::LogMatching::default()),
            Box::new(leader_completeness::LeaderCompleteness::default()),
            Box::new(equal_state::EqualState::default()),
            Box::new(applied_never_falls::AppliedNeverFalls::default()),
            Box::new(log_time_never_falls::LogTimeNeverFalls::default()),
            Box::new(sound_state::SoundState),
            Box::new(replica_bounds::ReplicaBounds::default()),
            Box::new(placement::Placement::new(zones)),
            Box::new(no_cid_lost::NoCidLost::default()),
            Box::new(make_before_break::MakeBeforeBreak::new(machines.clone())),
            Box::new(ordered_unpins::OrderedUnpins::new(machines)),
            Box::new(foreign_pins_stay::ForeignPinsStay::default()),
            Box::new(bounded_load::BoundedLoad),
        ])
    }

    /// Judges something seen.
    pub fn check(&mut self, seen: &Seen) -> Result<(), Violation> {
        for invariant in &mut self.0 {
            invariant.check(seen).map_err(|what| Violation {
                property: invariant.name(),
                what,
            })?;
        }
        Ok(())
    }
}
