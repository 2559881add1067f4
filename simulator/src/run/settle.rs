//! After the faults: within a stated time everything must be well again, or what is not is named.

use ipfs_cluster_protocol::id::LogIndex;

use super::{Run, failed, micros, violated};
use crate::{invariants::Violation, scenario::Scenario};

impl Run {
    /// Everything is well again; so must the cluster be, in time.
    pub(super) fn settle(&mut self, scenario: &Scenario) -> Result<(), Violation> {
        self.injector
            .heal_all(&mut self.sim)
            .map_err(|e| failed(&e))?;
        self.tell("everything is well again");
        let deadline = self.sim.now() + micros(scenario.settle.0);
        while let Err(unmet) = self.converged() {
            if self.sim.now() >= deadline {
                let what = format!("{} after the faults: {unmet}", scenario.settle);
                return Err(violated("converges", what));
            }
            self.step()?;
        }
        self.tell("all peers are equal");
        Ok(())
    }

    /// What is still amiss.
    fn converged(&self) -> Result<(), String> {
        if self.workload.leader().is_none() {
            return Err("nobody leads".to_owned());
        }
        let applied = self
            .observer
            .applied()
            .ok_or("a peer does not run, or recovers")?;
        let open = self.workload.history().lock();
        let waiting = open.iter().filter(|r| r.answer.is_none());
        let recent = waiting.filter(|r| r.from + 10_000_000 > self.sim.now());
        if recent.count() > 0 {
            return Err("clients wait".to_owned());
        }
        let all: Vec<u64> = applied.iter().map(|LogIndex(index)| *index).collect();
        if all.iter().all(|index| Some(index) == all.first()) {
            Ok(())
        } else {
            Err(format!("the peers have applied {all:?}"))
        }
    }
}
