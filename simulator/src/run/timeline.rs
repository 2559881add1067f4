//! The scenario's faults, each at its time.

use std::collections::VecDeque;

use super::{Run, failed, micros};
use crate::{invariants::Violation, scenario::Timed, world::Micros};

/// What has yet to happen, and from when its times count.
#[derive(Debug)]
pub(super) struct Timeline {
    ahead: VecDeque<Timed>,
    start: Micros,
}

impl Timeline {
    /// These faults, in order of time, from `start` on.
    pub(super) fn new(faults: &[Timed], start: Micros) -> Self {
        Self {
            ahead: faults.iter().cloned().collect(),
            start,
        }
    }

    /// The next fault whose time has come.
    fn due(&mut self, now: Micros) -> Option<Timed> {
        let start = self.start;
        let first = self.ahead.front()?;
        (start + micros(first.at.0) <= now).then(|| self.ahead.pop_front())?
    }
}

impl Run {
    /// Lets happen what is due.
    pub(super) fn let_happen(&mut self, timeline: &mut Timeline) -> Result<(), Violation> {
        while let Some(timed) = timeline.due(self.sim.now()) {
            let leader = self.workload.leader();
            let text = self
                .injector
                .apply(&mut self.sim, &timed.fault, leader)
                .map_err(|e| failed(&e))?;
            self.tell(&text);
        }
        Ok(())
    }
}
