//! Looks into the peers as a run goes, and hands what it sees to the invariants.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use ipfs_cluster_node::consensus::RaftStatus;
use ipfs_cluster_protocol::{
    id::{Cid, LogIndex, Rev},
    state::{System, check_invariants, query},
};

use crate::{
    peer::Slot,
    simulation::Simulation,
    world::{HostId, Micros},
};

/// Between two looks at a peer's consensus.
const STATUS_EVERY_US: Micros = 50_000;
/// Between two looks at its state.
const STATE_EVERY_US: Micros = 1_000_000;
/// Pins read at once.
const PAGE: usize = 1_000;

/// Something seen at a peer.
#[derive(Debug, Clone)]
pub enum Seen {
    /// The consensus as it sees it.
    Raft {
        /// Where.
        peer: HostId,
        /// In which life of it.
        life: u64,
        /// What.
        status: RaftStatus,
    },
    /// How far its state has come.
    State {
        /// Where.
        peer: HostId,
        /// In which life of it.
        life: u64,
        /// The state's own account.
        system: System,
        /// What the core's own check says of it.
        fault: Option<String>,
    },
    /// The pinset at the end.
    Pinset {
        /// Where.
        peer: HostId,
        /// CIDs with the pins' last changes.
        pins: Vec<(Cid, Rev)>,
    },
}

/// What was seen and not judged yet.
#[derive(Debug, Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Seen>>>);

impl Inbox {
    fn push(&self, seen: Seen) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seen);
    }

    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks at the peers.
#[derive(Debug)]
pub struct Observer {
    slots: Vec<Slot>,
    inbox: Inbox,
    /// Peers of which the pinset was read to the end.
    complete: Arc<Mutex<BTreeSet<HostId>>>,
}

impl Observer {
    /// Looks at these peers.
    #[must_use]
    pub fn new(slots: Vec<Slot>) -> Self {
        Self {
            slots,
            inbox: Inbox::default(),
            complete: Arc::default(),
        }
    }

    /// What there is to see after a step.
    pub fn step(&self, sim: &Simulation) -> Vec<Seen> {
        let mut seen = self.inbox.take();
        for (slot, peer) in self.slots.iter().zip(1..) {
            let (Some(host), Some(consensus)) = (sim.host(peer), slot.get()) else {
                continue;
            };
            let life = host.disk().life();
            if sim.now().is_multiple_of(STATUS_EVERY_US) {
                let status = consensus.status().borrow().clone();
                seen.push(Seen::Raft { peer, life, status });
            }
            if sim.now().is_multiple_of(STATE_EVERY_US) {
                let inbox = self.inbox.clone();
                host.spawn(async move {
                    let read = consensus.state().read(|state| {
                        let fault = check_invariants(state).err();
                        Ok((System::load(state)?, fault.map(|f| format!("{f:?}"))))
                    });
                    if let Ok((system, fault)) = read.await {
                        inbox.push(Seen::State {
                            peer,
                            life,
                            system,
                            fault,
                        });
                    }
                });
            }
        }
        seen
    }

    /// Starts to read all pinsets.
    pub fn read_pinsets(&self, sim: &Simulation) {
        for (slot, peer) in self.slots.iter().zip(1..) {
            let (Some(host), Some(consensus)) = (sim.host(peer), slot.get()) else {
                continue;
            };
            let (inbox, complete) = (self.inbox.clone(), self.complete.clone());
            host.spawn(async move {
                let read = consensus.state().read(move |state| {
                    let mut pins = Vec::new();
                    let mut from = None;
                    loop {
                        let page = query::pins(state, from.unwrap_or_default(), PAGE, &|_| true)?;
                        pins.extend(page.items.iter().map(|pin| (pin.spec.cid, pin.rev)));
                        match page.next {
                            Some(next) => from = Some(next),
                            None => return Ok(pins),
                        }
                    }
                });
                if let Ok(pins) = read.await {
                    inbox.push(Seen::Pinset { peer, pins });
                    complete
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(peer);
                }
            });
        }
    }

    /// Whether all pinsets were read.
    #[must_use]
    pub fn has_all_pinsets(&self) -> bool {
        let complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        complete.len() == self.slots.len()
    }

    /// The last applied entries, if every peer runs and has recovered.
    #[must_use]
    pub fn applied(&self) -> Option<Vec<LogIndex>> {
        let applied = self.slots.iter().map(|slot| {
            let status = slot.get()?.status().borrow().clone();
            (!status.recovering).then_some(status.applied)
        });
        applied.collect()
    }
}
