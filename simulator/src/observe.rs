//! Looks into the peers as a run goes, and hands what it sees to the invariants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::TryStreamExt as _;
use ipfs_cluster_node::{
    consensus::{LogMark, RaftStatus},
    ipfs::SharedIpfs,
};
use ipfs_cluster_protocol::{
    id::{Cid, LogIndex, PeerId, Rev, Seq},
    pin::Pin,
    state::{Member, StateRead, StoreError, System, Violation, check_invariants, query},
};

use crate::{
    ipfs::NodeSlot,
    peer::{Handles, Slot},
    simulation::Simulation,
    world::{HostId, Micros, now},
};

/// Between two looks at a peer's consensus.
const STATUS_EVERY_US: Micros = 50_000;
/// Between two looks at its state.
const STATE_EVERY_US: Micros = 1_000_000;
/// Pins read at once.
const PAGE: usize = 1_000;
/// Entries of the log looked at, from its end.
const LOG_TAIL: u64 = 64;

/// A peer's state, its IPFS node and its copies of the tables at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// When.
    pub at: Micros,
    /// The state's own account.
    pub system: System,
    /// What the core's own check says of it.
    pub fault: Option<String>,
    /// Whether the peer has applied all of its log, and follows a leader: before, after a loss of power,
    /// it may not know again what it has carried out already.
    pub caught_up: bool,
    /// The members.
    pub members: Vec<Member>,
    /// All pins, in order of creation.
    pub pins: Vec<Pin>,
    /// What its IPFS node has pinned; none when that does not run.
    pub held: Option<BTreeSet<Cid>>,
    /// Of every peer's table: its version, and up to where it has seen the state.
    pub tables: BTreeMap<PeerId, (u64, Rev)>,
}

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
    /// The end of its log.
    Log {
        /// Where.
        peer: HostId,
        /// The consensus just then.
        status: RaftStatus,
        /// Entries, in order.
        marks: Vec<LogMark>,
    },
    /// What it has and knows.
    State {
        /// Where.
        peer: HostId,
        /// In which life of it.
        life: u64,
        /// All of it.
        view: Arc<View>,
    },
    /// A disk was lost, with what it held.
    Wiped {
        /// Whose.
        peer: HostId,
    },
    /// The IPFS node of a peer has lost all that it had pinned.
    Emptied {
        /// Whose.
        peer: HostId,
    },
    /// The first fault has happened.
    Disturbed,
    /// A client asks for a pin.
    Asked {
        /// Of which CID.
        cid: Cid,
        /// When.
        at: Micros,
    },
    /// What a peer has open.
    Load {
        /// Who.
        peer: HostId,
        /// Connections.
        connections: usize,
        /// Bytes it has written that were not read yet.
        bytes: usize,
    },
    /// What the whole process takes.
    Memory {
        /// Resident bytes.
        bytes: u64,
        /// Machines simulated in it.
        machines: usize,
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
    /// The Kubos beside peers.
    kubos: BTreeMap<HostId, NodeSlot>,
    inbox: Inbox,
    /// The life of each peer that was looked at last.
    lives: BTreeMap<HostId, u64>,
}

impl Observer {
    /// Looks at these peers, some of which have a Kubo beside them.
    #[must_use]
    pub fn new(slots: Vec<Slot>, kubos: BTreeMap<HostId, NodeSlot>) -> Self {
        Self {
            slots,
            kubos,
            inbox: Inbox::default(),
            lives: BTreeMap::new(),
        }
    }

    /// What there is to see after a step.
    pub fn step(&mut self, sim: &Simulation) -> Vec<Seen> {
        let mut seen = self.inbox.take();
        for (slot, peer) in self.slots.iter().zip(1..) {
            let Some(host) = sim.host(peer) else {
                continue;
            };
            let life = host.disk().life();
            let known = self.lives.get(&peer) == Some(&life);
            if known && !sim.now().is_multiple_of(STATUS_EVERY_US) {
                continue;
            }
            let Some(handles) = slot.handles() else {
                continue;
            };
            if sim.now().is_multiple_of(STATUS_EVERY_US) {
                let status = handles.consensus.status().borrow().clone();
                seen.push(Seen::Raft { peer, life, status });
            }
            // What a peer makes of its disk is seen at once, before the others have told it more.
            self.lives.insert(peer, life);
            if !known || sim.now().is_multiple_of(STATE_EVERY_US) {
                let look = Look {
                    peer,
                    life,
                    handles,
                    ipfs: self.ipfs(peer),
                    inbox: self.inbox.clone(),
                };
                host.spawn(sim.now(), look.run());
            }
        }
        seen
    }

    /// The node of the Kubo beside a peer; none without one, or while it does not run.
    fn ipfs(&self, peer: HostId) -> Beside {
        match self.kubos.get(&peer) {
            None => Beside::Within,
            Some(slot) => match slot.node() {
                Some(node) => Beside::Kubo(node),
                None => Beside::Down,
            },
        }
    }

    /// What a peer itself says of a pin: its phase, and why it failed if it did.
    #[must_use]
    pub fn says_of(&self, peer: HostId, seq: Seq) -> Option<String> {
        let handles = self.slots.get(peer.checked_sub(1)?)?.handles()?;
        handles.cluster.tables().read_own(|own| {
            let (phase, detail) = own.content().get(seq)?;
            let why = detail.map_or_else(String::new, |d| {
                format!(", failed {} times: {}", d.attempts, d.error)
            });
            Some(format!("{phase:?}{why}"))
        })
    }

    /// The consensus of these peers; none if one of them does not run, or recovers.
    #[must_use]
    pub fn statuses(&self, of: &BTreeSet<HostId>) -> Option<BTreeMap<HostId, RaftStatus>> {
        let statuses = of.iter().map(|peer| Some((*peer, self.status(*peer)?)));
        statuses.collect()
    }

    /// What whoever of these knows the newest says of the consensus.
    #[must_use]
    pub fn newest(&self, of: &BTreeSet<HostId>) -> Option<RaftStatus> {
        let told = of.iter().filter_map(|peer| self.status(*peer));
        told.max_by_key(|status| (status.term, status.applied))
    }

    fn status(&self, peer: HostId) -> Option<RaftStatus> {
        let status = self
            .slots
            .get(peer.checked_sub(1)?)?
            .status(RaftStatus::clone)?;
        (!status.recovering).then_some(status)
    }
}

/// Where a peer's IPFS node is.
enum Beside {
    Within,
    Kubo(SharedIpfs),
    Down,
}

struct Look {
    peer: HostId,
    life: u64,
    handles: Handles,
    ipfs: Beside,
    inbox: Inbox,
}

impl Look {
    async fn run(self) {
        let consensus = &self.handles.consensus;
        let status = consensus.status().borrow().clone();
        let LogIndex(last) = status.last_index;
        let from = LogIndex(last.saturating_sub(LOG_TAIL - 1));
        if let Ok(marks) = consensus.log_marks(from).await {
            self.inbox.push(Seen::Log {
                peer: self.peer,
                status: status.clone(),
                marks,
            });
        }
        let Ok(mut view) = consensus.state().read(view).await else {
            return;
        };
        view.at = now();
        view.caught_up =
            !status.recovering && status.leader.is_some() && status.applied == status.last_index;
        view.held = self.held().await;
        let info = self.handles.cluster.tables().info();
        let known = |(peer, table): (PeerId, ipfs_cluster_node::status::TableInfo)| {
            (peer, (table.version, table.as_of))
        };
        view.tables = info.into_iter().map(known).collect();
        self.inbox.push(Seen::State {
            peer: self.peer,
            life: self.life,
            view: Arc::new(view),
        });
    }

    async fn held(&self) -> Option<BTreeSet<Cid>> {
        let node = match &self.ipfs {
            Beside::Within => self.handles.cluster.ipfs(),
            Beside::Kubo(node) => node,
            Beside::Down => return None,
        };
        let pins: Vec<_> = node.pin_ls().await.ok()?.try_collect().await.ok()?;
        Some(pins.into_iter().map(|(cid, _)| cid).collect())
    }
}

/// An error is the disk's that the peer runs on, and no fault of the state.
fn view(state: &dyn StateRead) -> Result<View, StoreError> {
    let mut pins = Vec::new();
    let mut from = Some(Seq(0));
    while let Some(at) = from {
        let page = query::pins(state, at, PAGE, &|_| true)?;
        pins.extend(page.items);
        from = page.next;
    }
    let fault = match check_invariants(state) {
        Err(Violation::Store(e)) => return Err(e),
        Err(fault) => Some(format!("{fault:?}")),
        Ok(()) => None,
    };
    Ok(View {
        system: System::load(state)?,
        fault,
        members: query::members(state)?,
        pins,
        ..View::default()
    })
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::state::{Model, PinSet, Row, Table};
    use roaring::RoaringBitmap;

    use super::*;

    /// A state on a disk that refuses some reads.
    struct Refusing(Model);

    impl StateRead for Refusing {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(table, key)
        }
        fn range(
            &self,
            table: Table,
            from: &[u8],
            below: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<Row>, StoreError> {
            self.0.range(table, from, below, limit)
        }
        fn set_block(&self, set: PinSet, block: u64) -> Result<RoaringBitmap, StoreError> {
            self.0.set_block(set, block)
        }
        fn set_blocks(&self, _: PinSet, _: u64, _: usize) -> Result<Vec<u64>, StoreError> {
            Err(StoreError("no storage space".to_owned()))
        }
    }

    #[test]
    fn a_read_that_fails_is_no_fault_of_the_state() {
        assert!(view(&Model::default()).unwrap().fault.is_none());
        assert!(view(&Refusing(Model::default())).is_err());
    }
}
