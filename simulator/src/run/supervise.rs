//! Peers that give up are started again, as a supervisor would.

use std::collections::BTreeMap;

use super::{Run, failed};
use crate::{
    disk::Crash,
    invariants::Violation,
    world::{HostId, Micros},
};

/// After it has exited with an error, a peer is started again by its supervisor.
const SUPERVISOR_PAUSE_US: Micros = 2_000_000;

/// When peers that have given up start again.
#[derive(Debug, Default)]
pub(super) struct Supervisor(BTreeMap<HostId, Micros>);

impl Supervisor {
    /// Does not start a peer any more.
    pub(super) fn forget(&mut self, peer: HostId) {
        self.0.remove(&peer);
    }
}

impl Run {
    /// Takes note of programs that have ended, and starts those whose pause is over.
    pub(super) fn supervise(&mut self) -> Result<(), Violation> {
        for (host, exit) in self.sim.take_exits() {
            self.tell(&format!("peer {host} exits: {exit:?}"));
            self.sim.crash(host, Crash::Kill, false);
            // Who was removed ends for good, if a client did that. All others are started again.
            if exit.is_err() || !self.leaving.contains_key(&host) {
                let again = self.sim.now() + SUPERVISOR_PAUSE_US;
                self.supervisor.0.insert(host, again);
            }
        }
        let now = self.sim.now();
        let due = self.supervisor.0.extract_if(.., |_, at| *at <= now);
        for host in due.map(|(host, _)| host).collect::<Vec<_>>() {
            self.sim.boot(host).map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}
