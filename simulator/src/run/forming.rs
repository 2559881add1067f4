//! The first minutes: every peer starts and becomes a member.

use std::time::Duration;

use super::{Run, failed, micros, violated};
use crate::invariants::Violation;

/// Within which a new cluster must have all its members.
const FORMING_MAX: Duration = Duration::from_secs(60);

impl Run {
    /// Starts everybody; ends when everybody is a member.
    pub(super) fn form(&mut self, peers: usize) -> Result<(), Violation> {
        for host in 1..=peers {
            self.sim.boot(host).map_err(|e| failed(&e))?;
        }
        let deadline = self.sim.now() + micros(FORMING_MAX);
        while self.observer.applied().is_none() || self.workload.leader().is_none() {
            if self.sim.now() >= deadline {
                let what = format!("no cluster of {peers} peers within {FORMING_MAX:?}");
                return Err(violated("cluster-forms", what));
            }
            self.step()?;
        }
        let leader = self.workload.leader().unwrap_or_default();
        self.tell(&format!("{peers} peers are members, peer {leader} leads"));
        Ok(())
    }
}
