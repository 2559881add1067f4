//! The first minute: every peer starts and becomes a member.

use std::time::Duration;

use super::{Run, failed, micros, violated};
use crate::invariants::Violation;

/// Within which a new cluster must have all its members.
const FORMING_MAX: Duration = Duration::from_secs(60);

impl Run {
    /// Starts everybody; ends when everybody is a member.
    pub(super) fn form(&mut self, peers: usize) -> Result<(), Violation> {
        for host in self.helpers.clone() {
            self.sim.boot(host).map_err(|e| failed(&e))?;
        }
        let deadline = self.sim.now() + micros(FORMING_MAX);
        while self.library.node().is_none() {
            if self.sim.now() >= deadline {
                let what = "the library has not its content in time".to_owned();
                return Err(violated("simulator", what));
            }
            self.step()?;
        }
        let address = self.library.node().and_then(|node| node.addresses().pop());
        if let Some(address) = address {
            self.workload.set_origin(address);
        }
        for host in 1..=peers {
            self.sim.boot(host).map_err(|e| failed(&e))?;
        }
        for host in self.injector.foreign().to_vec() {
            self.sim.boot(host).map_err(|e| failed(&e))?;
        }
        while !self.is_formed() {
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

    fn is_formed(&self) -> bool {
        let ready = self.observer.statuses(self.injector.roster()).is_some();
        let strangers = self.foreign.iter().all(|slot| slot.get().is_some());
        ready && strangers && self.workload.leader().is_some()
    }
}
