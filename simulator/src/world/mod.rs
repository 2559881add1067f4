//! What all hosts share: the clock, the trace and the network, behind one handle.
//!
//! Hosts run one after the other within a step of virtual time, on one thread, so the lock is never
//! contended; it is there because the doors of the node must be `Send`.

mod rng;
mod trace;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use rng::Rng;
pub use trace::Trace;

use crate::{interpose, network::Network};

/// Virtual time in microseconds since the start of the run.
pub type Micros = u64;

/// Number of a host: the driver is 0, machines count from 1.
pub type HostId = usize;

/// Virtual time as the running code sees it (finer than the steps of the driver).
#[must_use]
pub fn now() -> Micros {
    interpose::virtual_ns() / 1_000
}

/// State of the world.
#[derive(Debug)]
pub struct Shared {
    /// The record of the run.
    pub trace: Trace,
    /// Pipes and links.
    pub network: Network,
    /// Where the driver stands: the end of the present step.
    pub step_end: Micros,
}

impl Shared {
    /// Adds a line to the trace, stamped with the driver's time.
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        self.trace.line(self.step_end, text);
    }
}

/// Handle on the world. Cheap to clone.
#[derive(Debug, Clone)]
pub struct World(Arc<Mutex<Shared>>);

impl World {
    /// A world at time zero.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            trace,
            network: Network::new(seed),
            step_end: 0,
        })))
    }

    /// Its state. Not to be held across anything that may run a host's code (wakers too).
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic elsewhere is reported as such; the state is still what the report is made of.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the trace.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        self.lock().note(text);
    }
}
