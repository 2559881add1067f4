//! The world of a run: which machine is what.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{Run, supervise::Supervisor};
use crate::{
    faults::{Beside, Injector, Targets},
    invariants::Invariants,
    ipfs::{Kubo, Library, NodeSlot},
    observe::Observer,
    peer::{Cluster, Peer, Slot},
    report::Recorder,
    scenario::Scenario,
    simulation::Simulation,
    workload::{ClientMachine, Workload},
    world::{HostId, Rng, Trace},
};

/// The numbers of the machines: peers first, those that join after them, then all others.
struct Layout {
    peers: usize,
    /// Peers in all, with those that join.
    all: usize,
    foreign: Vec<HostId>,
    clients: HostId,
    library: HostId,
    kubos: BTreeMap<HostId, HostId>,
}

impl Layout {
    fn of(scenario: &Scenario) -> Self {
        let peers = scenario.peers;
        let all = peers + scenario.joiners();
        let clients = all + scenario.foreign + 1;
        let with = peers - scenario.kubo + 1..=peers;
        Self {
            peers,
            all,
            foreign: (all + 1..clients).collect(),
            clients,
            library: clients + 1,
            kubos: with.zip(clients + 2..).collect(),
        }
    }
}

/// Builds the world of a scenario. Puts the calling thread on virtual time.
pub(super) fn build(scenario: &mut Scenario, seed: u64, trace: Trace) -> Run {
    let mut sim = Simulation::new(seed, trace);
    scenario.draw(&mut Rng::new(seed, "scenario"));
    let layout = Layout::of(scenario);
    let usual = scenario.network.link();
    sim.world().lock().network.links().set_usual(usual);
    let cluster = Arc::new(members(scenario, &layout));
    let slots = add_peers(&mut sim, "peer", 1..=layout.all, &cluster);
    let strangers = Cluster::generate(
        layout.foreign.clone(),
        layout.foreign.len(),
        scenario.tuning.clone(),
    );
    let strangers = Arc::new(strangers.knowing(&cluster));
    let foreign = add_peers(&mut sim, "stranger", layout.foreign.clone(), &strangers);
    sim.add("clients", ClientMachine);
    let library = add_library(&mut sim, scenario);
    let kubos = add_kubos(&mut sim, &layout.kubos);
    let nodes = kubos.iter().map(|(peer, kubo)| (*peer, kubo.slot.clone()));
    let nodes = nodes.collect();
    let targets = Targets {
        peers: layout.peers,
        joiners: (layout.peers + 1..=layout.all).collect::<VecDeque<_>>(),
        foreign: layout.foreign,
        kubos,
        topology: scenario.topology(),
    };
    let injector = Injector::new(seed, targets);
    injector.lay_links(&sim);
    let workload = Workload::new(
        seed,
        scenario,
        cluster.clone(),
        slots.clone(),
        (&sim, layout.clients),
    );
    let recorder = Recorder::new(slots.clone());
    let helpers = [layout.clients, layout.library];
    Run {
        observer: Observer::new(slots, nodes),
        invariants: Invariants::new(cluster.machines(), cluster.zones()),
        workload,
        injector,
        supervisor: Supervisor::default(),
        cluster,
        foreign,
        helpers: helpers
            .into_iter()
            .chain(layout.kubos.into_values())
            .collect(),
        library,
        views: BTreeMap::new(),
        leaving: BTreeMap::new(),
        empty: BTreeSet::new(),
        story: Vec::new(),
        recorder,
        sim,
    }
}

fn members(scenario: &Scenario, layout: &Layout) -> Cluster {
    let topology = scenario.topology();
    let zone = |host| Some((host, topology.zone_of(host)?.to_owned()));
    let zones = (1..=layout.peers).filter_map(zone).collect();
    Cluster::generate(1..=layout.all, layout.peers, scenario.tuning.clone())
        .placed(zones, layout.kubos.clone())
}

fn add_library(sim: &mut Simulation, scenario: &Scenario) -> NodeSlot {
    let library = NodeSlot::default();
    let cids = if scenario.workload.content {
        scenario.workload.cids + scenario.burst()
    } else {
        0
    };
    let slot = library.clone();
    sim.add("library", Library { cids, slot });
    library
}

fn add_peers(
    sim: &mut Simulation,
    kind: &str,
    hosts: impl IntoIterator<Item = HostId>,
    cluster: &Arc<Cluster>,
) -> Vec<Slot> {
    let add = |host| {
        let slot = Slot::default();
        let peer = Peer::new(host, cluster.clone(), slot.clone());
        sim.add(format!("{kind}{host}"), peer);
        slot
    };
    hosts.into_iter().map(add).collect()
}

fn add_kubos(sim: &mut Simulation, places: &BTreeMap<HostId, HostId>) -> BTreeMap<HostId, Beside> {
    let add = |(peer, machine): (&HostId, &HostId)| {
        let slot = NodeSlot::default();
        let program = Kubo { slot: slot.clone() };
        sim.add(format!("kubo{peer}"), program);
        let machine = *machine;
        (*peer, Beside { machine, slot })
    };
    places.iter().map(add).collect()
}
