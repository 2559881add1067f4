//! Clients: they pin, unpin, upload and read through any peer, over HTTP or a libp2p stream, and
//! write down what they are told.
//!
//! They sit on a machine of their own that every peer can be reached from, whatever is cut between
//! the peers: a client of a minority's leader is the one who would be lied to.

mod client;
mod content;
mod draw;
mod remove;

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_ctl::client::{Connector, Target};
use ipfs_cluster_node::{consensus::Role, env::Env};
use ipfs_cluster_protocol::{
    api::options::PinOptions,
    id::{Cid, LogIndex},
    time::Timestamp,
};

pub use content::{bytes, cid};

use self::client::Call;
use crate::{
    history::{Ask, History, Request, Tag},
    host::Program,
    interpose,
    network::{ClientSockets, ip},
    peer::{Cluster, REST_PORT, SWARM_PORT, Slot},
    scenario::{Scenario, WorkloadPlan},
    simulation::Simulation,
    world::{HostId, Micros, Rng},
};

/// How long a pin lives that ends by itself.
const LIFE_US: (Micros, Micros) = (3_000_000, 20_000_000);
/// Requests to which no answer has come, at most.
const OPEN_MAX: usize = 256;

/// The machine that clients run on: they are started from outside.
#[derive(Debug)]
pub struct ClientMachine;

impl Program for ClientMachine {
    fn main(&mut self, _: Env) -> BoxFuture<'static, Result<(), String>> {
        pending().boxed()
    }
}

/// Sends requests at random moments.
pub struct Workload {
    plan: WorkloadPlan,
    rng: Rng,
    cluster: Arc<Cluster>,
    slots: Vec<Slot>,
    history: History,
    next_at: Micros,
    /// Where the clients run.
    machine: HostId,
    connector: Arc<dyn Connector>,
    told: Arc<AtomicU64>,
    numbers: Arc<BTreeMap<Cid, u64>>,
    /// Where every content can be had, as a multiaddr.
    origin: Option<String>,
    /// The first CID of the next burst.
    next_burst: u64,
    /// How far peers may be wrong about the time.
    clock_error: Micros,
    /// CIDs that clients have asked to pin since they were told last, and when.
    asked: Vec<(Cid, Micros)>,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload").finish_non_exhaustive()
    }
}

impl Workload {
    /// Clients of these peers, on the machine `machine`.
    #[must_use]
    pub fn new(
        seed: u64,
        scenario: &Scenario,
        cluster: Arc<Cluster>,
        slots: Vec<Slot>,
        (sim, machine): (&Simulation, HostId),
    ) -> Self {
        let sockets = ClientSockets::new(sim.world().clone(), machine, cluster.secret());
        let plan = scenario.workload.clone();
        let numbers = (1..=plan.cids + scenario.burst()).filter_map(|n| Some((cid(n)?, n)));
        Self {
            numbers: Arc::new(numbers.collect()),
            next_burst: plan.cids + 1,
            clock_error: scenario.clock_error_seconds() * 1_000_000,
            asked: Vec::new(),
            plan,
            rng: Rng::new(seed, "workload"),
            cluster,
            slots,
            history: History::default(),
            next_at: 0,
            machine,
            connector: Arc::new(sockets),
            told: Arc::default(),
            origin: None,
        }
    }

    /// What was asked and answered.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// CIDs by their numbers.
    #[must_use]
    pub fn numbers(&self) -> &BTreeMap<Cid, u64> {
        &self.numbers
    }

    /// From now on pins say that their content can be had there.
    pub fn set_origin(&mut self, origin: String) {
        self.origin = Some(origin);
    }

    /// Whether what is pinned can be fetched.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.plan.content
    }

    /// Pins so many CIDs that nobody else pins, all at once, through all peers.
    pub fn burst(&mut self, sim: &Simulation, pins: u64) {
        let hosts: Vec<HostId> = (1..=self.slots.len()).collect();
        for cid in self.next_burst..self.next_burst + pins {
            if let Some(peer) = self.rng.pick(&hosts).copied() {
                self.send(sim, peer, Ask::Pin, cid);
            }
        }
        self.next_burst += pins;
    }

    /// Takes a peer out of the cluster by way of others; `gone` is set once that is confirmed.
    pub fn take_out(
        &self,
        sim: &Simulation,
        peer: HostId,
        drain: bool,
        via: &[HostId],
        gone: Arc<AtomicBool>,
    ) {
        let (Some(machine), Some(id)) = (sim.host(self.machine), self.cluster.id(peer)) else {
            return;
        };
        let removal = remove::Removal {
            peer: id,
            drain,
            via: via.iter().map(|host| tcp(*host)).collect(),
            connector: self.connector.clone(),
            gone,
            world: sim.world().clone(),
        };
        machine.spawn(sim.now(), removal.run());
    }

    /// Sends what is due.
    pub fn step(&mut self, sim: &Simulation) {
        let rate = self.plan.writes_per_second + self.plan.reads_per_second;
        if rate == 0 {
            return;
        }
        self.next_at = self.next_at.max(sim.now().saturating_sub(1_000_000));
        while self.next_at <= sim.now() {
            self.next_at += self.rng.between(0, 2_000_000 / rate);
            if self.waiting() < OPEN_MAX {
                self.send_any(sim);
            }
        }
    }

    /// Of the last requests, those without an answer.
    fn waiting(&self) -> usize {
        let history = self.history.lock();
        let last = history.iter().rev().take(OPEN_MAX);
        last.filter(|r| r.answer.is_none()).count()
    }

    fn send_any(&mut self, sim: &Simulation) {
        let told = LogIndex(self.told.load(Ordering::Relaxed));
        let cid = self.rng.between(1, self.plan.cids);
        let Some(ask) = draw::ask(&mut self.rng, &self.plan, told) else {
            return;
        };
        let hosts: Vec<HostId> = (1..=self.slots.len()).collect();
        if let Some(peer) = self.rng.pick(&hosts).copied() {
            self.send(sim, peer, ask, cid);
        }
    }

    /// What clients have asked to pin since the last call, and when.
    pub fn take_asked(&mut self) -> Vec<(Cid, Micros)> {
        std::mem::take(&mut self.asked)
    }

    /// Sends a request to a peer, if its machine runs.
    pub fn send(&mut self, sim: &Simulation, peer: HostId, ask: Ask, cid: u64) {
        // A machine that is down is not answered by: nothing to learn.
        let up = sim.host(peer).is_some_and(|host| host.is_up());
        let (Some(machine), true) = (sim.host(self.machine), up) else {
            return;
        };
        let Some(target) = self.target(peer) else {
            return;
        };
        if ask.pins() {
            self.asked
                .extend(content::cid(cid).map(|cid| (cid, sim.now())));
        }
        let ends = self.draw_end(sim.now(), ask);
        let number = self.history.begin(Request {
            peer,
            cid,
            ask,
            from: sim.now(),
            may_expire: ends.map(|at| at.saturating_sub(self.clock_error)),
            answer: None,
        });
        machine.spawn(
            sim.now(),
            Call {
                number,
                ask,
                cid,
                options: self.options(Tag(number), ask, ends),
                target,
                connector: self.connector.clone(),
                history: self.history.clone(),
                told: self.told.clone(),
                numbers: self.numbers.clone(),
                world: sim.world().clone(),
            }
            .run(),
        );
    }

    fn target(&mut self, peer: HostId) -> Option<Target> {
        let address = ip(peer);
        if !self.rng.chance(self.plan.libp2p_percent * 10_000) {
            return Some(tcp(peer));
        }
        let id = self.cluster.id(peer)?;
        Target::parse(&format!("/ip4/{address}/tcp/{SWARM_PORT}/p2p/{id}")).ok()
    }

    /// When a pin is to end by itself, if it is.
    fn draw_end(&mut self, now: Micros, ask: Ask) -> Option<Micros> {
        let can = matches!(ask, Ask::Pin | Ask::Add);
        let ends = can && self.rng.chance(self.plan.expiring_percent * 10_000);
        ends.then(|| now + self.rng.between(LIFE_US.0, LIFE_US.1))
    }

    fn options(&mut self, tag: Tag, ask: Ask, ends: Option<Micros>) -> PinOptions {
        let replication = self.rng.pick(&self.plan.replication).copied();
        let (min, max) = replication.unwrap_or_default();
        let mut options = PinOptions {
            replication_factor_min: min,
            replication_factor_max: max,
            name: tag.to_string(),
            expire_at: ends.map(|at| Timestamp(interpose::wall_ms(at))),
            origins: self.origin.iter().cloned().collect(),
            ..PinOptions::default()
        };
        if let Ask::Update { from } = ask {
            options.pin_update = cid(from);
        }
        if self.rng.chance(self.plan.user_allocations_percent * 10_000) {
            let wanted = self.rng.pick(self.cluster.founders());
            let wanted = wanted.and_then(|host| self.cluster.id(*host));
            options.user_allocations.extend(wanted);
        }
        options
    }

    /// Who leads: of those who say so, the one with the highest term.
    #[must_use]
    pub fn leader(&self) -> Option<HostId> {
        let terms = self.slots.iter().zip(1..).filter_map(|(slot, host)| {
            let (role, term) = slot.status(|status| (status.role, status.term))?;
            (role == Role::Leader).then_some((term, host))
        });
        terms.max().map(|(_, host)| host)
    }
}

/// The REST API of a peer.
fn tcp(peer: HostId) -> Target {
    Target::Tcp {
        host: ip(peer).to_string(),
        port: REST_PORT,
    }
}
