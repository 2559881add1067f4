//! Peers that give up are started again, as a supervisor would.

use std::{collections::BTreeMap, sync::atomic::Ordering};

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

impl Run {
    /// Takes note of programs that have ended, and starts those whose pause is over.
    pub(super) fn supervise(&mut self) -> Result<(), Violation> {
        for (host, exit) in self.sim.take_exits() {
            self.tell(&format!("peer {host} exits: {exit:?}"));
            self.sim.crash(host, Crash::Kill, false);
            // Who was removed ends for good, if a client did that: at its own end, or once the client
            // was told that it is gone. All others are started again.
            let leaving = self.leaving.get(&host);
            let gone = leaving.is_some_and(|gone| exit.is_ok() || gone.load(Ordering::Relaxed));
            if !gone {
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
