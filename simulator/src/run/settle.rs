//! After the faults: within a stated time everything must be well again, or what is not is named.

use std::sync::atomic::Ordering;

use super::{Run, failed, micros, violated};
use crate::{invariants::Violation, scenario::Scenario, world::Micros};

/// Between two looks at whether everything is well: the peers are looked at once a second.
const LOOK_EVERY_US: Micros = 500_000;

impl Run {
    /// Everything is well again; so must the cluster be, in time.
    pub(super) fn settle(&mut self, scenario: &Scenario) -> Result<(), Violation> {
        self.injector
            .heal_all(&mut self.sim)
            .map_err(|e| failed(&e))?;
        self.start_who_is_to_leave()?;
        self.tell("everything is well again");
        let start = self.sim.now();
        let deadline = start + micros(scenario.settle.0);
        let mut met = "";
        loop {
            if self.sim.now().is_multiple_of(LOOK_EVERY_US) {
                match self.settled(start) {
                    Ok(()) => break,
                    Err(unmet) => {
                        if self.sim.now() >= deadline {
                            let what =
                                format!("{} after the faults: {}", scenario.settle, unmet.what);
                            return Err(violated(unmet.property, what));
                        }
                        if unmet.property != met {
                            met = unmet.property;
                            self.tell(&format!("waits for {met}"));
                        }
                    }
                }
            }
            self.step()?;
        }
        self.tell("all peers are equal, and hold what they must");
        Ok(())
    }

    /// Whoever was told to leave runs until the others have let it go: they may need its vote for that.
    /// One with an empty disk has none, and would join anew.
    fn start_who_is_to_leave(&mut self) -> Result<(), Violation> {
        let waiting = self.leaving.iter();
        let waiting = waiting
            .filter(|(peer, gone)| !gone.load(Ordering::Relaxed) && !self.empty.contains(peer));
        for peer in waiting.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.sim.boot(peer).map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}
