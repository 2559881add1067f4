//! The scenario's faults, each at its time.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
};

use ipfs_cluster_node::consensus::RaftStatus;

use super::{Run, failed, micros};
use crate::{
    disk::Crash,
    invariants::Violation,
    observe::Seen,
    scenario::{Fault, IpfsTrouble, Timed, Who},
    world::{HostId, Micros},
};

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
        while let Some(Timed { fault, .. }) = timeline.due(self.sim.now()) {
            let leader = self.workload.leader();
            let text = match fault {
                Fault::Burst { pins } => {
                    self.workload.burst(&self.sim, pins);
                    format!("clients pin {pins} CIDs at once")
                }
                Fault::Leave { peer, drain } => self.leave(peer, drain, leader),
                Fault::Wipe { peer } => {
                    let peer = self.injector.settle(peer, leader);
                    if self.is_one_of_two_voters(peer) {
                        self.tell(&format!(
                            "peer {peer} keeps its disk: with so few voters its vote cannot be spared"
                        ));
                        continue;
                    }
                    self.disturb(&Fault::Wipe {
                        peer: Who::Peer(peer),
                    })?;
                    self.see(Seen::Wiped { peer })?;
                    continue;
                }
                Fault::Ipfs {
                    peer,
                    trouble: trouble @ IpfsTrouble::Emptied,
                } => {
                    let peer = self.injector.settle_kubo(peer, leader);
                    self.disturb(&Fault::Ipfs {
                        peer: Who::Peer(peer),
                        trouble,
                    })?;
                    self.see(Seen::Emptied { peer })?;
                    continue;
                }
                fault => {
                    self.disturb(&fault)?;
                    continue;
                }
            };
            self.see(Seen::Disturbed)?;
            self.tell(&text);
        }
        Ok(())
    }

    /// Whether the cluster could not go on without what this peer has voted and written.
    fn is_one_of_two_voters(&self, peer: HostId) -> bool {
        let status = self.observer.newest(self.injector.roster());
        let votes = |status: RaftStatus| {
            let id = self.cluster.id(peer);
            status.voters.len() <= 2 && id.is_some_and(|id| status.voters.contains(&id))
        };
        status.is_some_and(votes)
    }

    fn disturb(&mut self, fault: &Fault) -> Result<(), Violation> {
        let leader = self.workload.leader();
        let applied = self.injector.apply(&mut self.sim, fault, leader);
        let text = applied.map_err(|e| failed(&e))?;
        self.tell(&text);
        self.see(Seen::Disturbed)
    }

    /// A client takes a peer out, by way of the others.
    fn leave(&mut self, who: Who, drain: bool, leader: Option<HostId>) -> String {
        let peer = self.injector.settle(who, leader);
        self.injector.leaves(peer);
        let via: Vec<HostId> = self.injector.roster().iter().copied().collect();
        let gone = Arc::new(AtomicBool::new(false));
        self.workload
            .take_out(&self.sim, peer, drain, &via, gone.clone());
        self.leaving.insert(peer, gone);
        let how = if self.empty.contains(&peer) {
            // It does not know that it was a member, and would join anew.
            self.sim.crash(peer, Crash::Kill, false);
            self.supervisor.forget(peer);
            "switched off, for it has lost its disk, and removed"
        } else if drain {
            "drained and removed"
        } else {
            "removed"
        };
        format!("peer {peer} is {how}")
    }
}
