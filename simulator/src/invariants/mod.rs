//! What must hold at every moment of every run: one property per file.
//!
//! | property | file | from |
//! |---|---|---|
//! | at most one leader per term | `election_safety` | Raft §5.2 |
//! | equal state at equal index | `equal_state` | Raft §5.4.3, state machine safety |
//! | what a peer has applied never falls within a life | `applied_never_falls` | |
//! | log time never falls | `log_time_never_falls` | |
//! | each state is sound in itself | `sound_state` | `protocol::state::check_invariants` |
//!
//! What clients were promised is `oracle`'s; what must come true in the end is `convergence`'s.

mod applied_never_falls;
mod election_safety;
mod equal_state;
mod log_time_never_falls;
mod sound_state;

use std::fmt;

use crate::observe::Seen;

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

impl Default for Invariants {
    fn default() -> Self {
        Self(vec![
            Box::new(election_safety::ElectionSafety::default()),
            Box::new(equal_state::EqualState::default()),
            Box::new(applied_never_falls::AppliedNeverFalls::default()),
            Box::new(log_time_never_falls::LogTimeNeverFalls::default()),
            Box::new(sound_state::SoundState),
        ])
    }
}

impl Invariants {
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
