//! Makes faults happen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use crate::{
    disk::{Crash, DiskFaults},
    ipfs::NodeSlot,
    network::Link,
    scenario::{CrashKind, Fault, IpfsTrouble, Topology, Who},
    simulation::Simulation,
    world::{HostId, Rng},
};

/// Of what is wrong with a disk.
type Change = Box<dyn FnOnce(&mut DiskFaults)>;

/// A Kubo beside a peer.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Its machine.
    pub machine: HostId,
    /// Its node.
    pub slot: NodeSlot,
}

/// The machines that faults happen to.
#[derive(Debug)]
pub struct Targets {
    /// The first peers: hosts 1 to this.
    pub peers: usize,
    /// Peers that have yet to join.
    pub joiners: VecDeque<HostId>,
    /// Peers of another cluster.
    pub foreign: Vec<HostId>,
    /// Kubos, by the peer they are beside.
    pub kubos: BTreeMap<HostId, Beside>,
    /// The links in good weather.
    pub topology: Topology,
}

/// Applies faults.
#[derive(Debug)]
pub struct Injector {
    targets: Targets,
    /// Who takes part now: has started, and was not told to leave.
    roster: BTreeSet<HostId>,
    rng: Rng,
}

impl Injector {
    /// For a run of this seed.
    #[must_use]
    pub fn new(seed: u64, targets: Targets) -> Self {
        Self {
            roster: (1..=targets.peers).collect(),
            targets,
            rng: Rng::new(seed, "faults"),
        }
    }

    /// Peers that take part.
    #[must_use]
    pub fn roster(&self) -> &BTreeSet<HostId> {
        &self.roster
    }

    /// Peers of another cluster.
    #[must_use]
    pub fn foreign(&self) -> &[HostId] {
        &self.targets.foreign
    }

    /// A peer that takes part no more.
    pub fn leaves(&mut self, peer: HostId) {
        self.roster.remove(&peer);
    }

    fn all(&self) -> Vec<HostId> {
        self.roster.iter().copied().collect()
    }

    /// Whom a scenario means, just now.
    pub fn settle(&mut self, who: Who, leader: Option<HostId>) -> HostId {
        let mut candidates = self.all();
        match (who, leader) {
            (Who::Peer(n), _) => candidates = vec![n],
            (Who::Leader, Some(leader)) => candidates = vec![leader],
            (Who::Follower, Some(leader)) => candidates.retain(|peer| *peer != leader),
            (Who::Leader | Who::Follower, None) | (Who::Any, _) => {}
        }
        self.rng.pick(&candidates).copied().unwrap_or(1)
    }

    /// Lets a fault happen; returns what it came to, in words.
    pub fn apply(
        &mut self,
        sim: &mut Simulation,
        fault: &Fault,
        leader: Option<HostId>,
    ) -> io::Result<String> {
        let text = match fault {
            Fault::Heal => {
                sim.world().lock().network.mend();
                "all links pass".to_owned()
            }
            Fault::Join => self.join(sim)?,
            Fault::Clock {
                peer,
                seconds,
                drift_ppm,
            } => {
                let peer = self.settle(*peer, leader);
                if let Some(host) = sim.host_mut(peer) {
                    host.set_wall_clock(seconds.saturating_mul(1_000_000_000), *drift_ppm);
                }
                format!("the clock of peer {peer} is {seconds} s off and drifts by {drift_ppm} ppm")
            }
            Fault::Blackout { .. }
            | Fault::LoseZone { .. }
            | Fault::Crash { .. }
            | Fault::Wipe { .. }
            | Fault::Restart { .. } => self.lives(sim, fault, leader)?,
            Fault::SlowDisk { .. } | Fault::FullDisk { .. } | Fault::SyncError { .. } => {
                self.disk(sim, fault, leader)
            }
            Fault::Ipfs { peer, trouble } => self.ipfs(sim, *peer, *trouble, leader)?,
            _ => self.links(sim, fault, leader),
        };
        sim.world().note(format_args!("fault {text}"));
        Ok(text)
    }

    fn join(&mut self, sim: &mut Simulation) -> io::Result<String> {
        let Some(peer) = self.targets.joiners.pop_front() else {
            return Ok("nobody is left to join".to_owned());
        };
        self.roster.insert(peer);
        sim.boot(peer)?;
        Ok(format!("peer {peer} joins"))
    }

    /// Stops and starts.
    fn lives(
        &mut self,
        sim: &mut Simulation,
        fault: &Fault,
        leader: Option<HostId>,
    ) -> io::Result<String> {
        Ok(match fault {
            Fault::Blackout { kind } => {
                stop(sim, &self.all(), *kind);
                format!("all peers stop ({kind:?})")
            }
            Fault::LoseZone { zone, kind } => {
                let peers = self.targets.topology.peers_of(zone).to_vec();
                stop(sim, &peers, *kind);
                format!("zone {zone} is lost: peers {peers:?} stop ({kind:?})")
            }
            Fault::Crash { peer, kind } => {
                let peer = self.settle(*peer, leader);
                stop(sim, &[peer], *kind);
                format!("peer {peer} stops ({kind:?})")
            }
            Fault::Wipe { peer } => {
                let peer = self.settle(*peer, leader);
                stop(sim, &[peer], CrashKind::PowerLoss);
                if let Some(host) = sim.host(peer) {
                    host.disk().wipe();
                }
                sim.boot(peer)?;
                format!("peer {peer} starts anew with an empty disk")
            }
            Fault::Restart { peer } => {
                let peers = match peer {
                    Some(who) => vec![self.settle(*who, leader)],
                    None => self.all(),
                };
                let stopped = |peer: &HostId| sim.host(*peer).is_some_and(|host| !host.is_up());
                let down: Vec<HostId> = peers.into_iter().filter(stopped).collect();
                for peer in &down {
                    sim.boot(*peer)?;
                }
                format!("peers {down:?} start")
            }
            _ => String::new(),
        })
    }

    fn disk(&mut self, sim: &Simulation, fault: &Fault, leader: Option<HostId>) -> String {
        let (who, change, text): (Who, Change, String) = match *fault {
            Fault::SlowDisk { peer, times } => (
                peer,
                Box::new(move |d| d.slowness = times),
                format!("takes {times} times as long"),
            ),
            Fault::FullDisk { peer, full } => {
                let capacity = if full {
                    0
                } else {
                    DiskFaults::default().capacity
                };
                let text = if full { "is full" } else { "has room" };
                (
                    peer,
                    Box::new(move |d| d.capacity = capacity),
                    text.to_owned(),
                )
            }
            Fault::SyncError { peer, times } => (
                peer,
                Box::new(move |d| d.sync_errors = times),
                format!("fails at the next {times} syncs"),
            ),
            _ => return String::new(),
        };
        let peer = self.settle(who, leader);
        if let Some(host) = sim.host(peer) {
            host.disk().set_faults(change);
        }
        format!("the disk of peer {peer} {text}")
    }

    /// The same, of those with a Kubo beside them.
    pub fn settle_kubo(&mut self, who: Who, leader: Option<HostId>) -> HostId {
        let peer = self.settle(who, leader);
        if self.targets.kubos.contains_key(&peer) {
            return peer;
        }
        let with: Vec<HostId> = self.targets.kubos.keys().copied().collect();
        self.rng.pick(&with).copied().unwrap_or(peer)
    }

    fn ipfs(
        &mut self,
        sim: &mut Simulation,
        who: Who,
        trouble: IpfsTrouble,
        leader: Option<HostId>,
    ) -> io::Result<String> {
        let peer = self.settle_kubo(who, leader);
        let Some(kubo) = self.targets.kubos.get(&peer) else {
            return Ok(format!("peer {peer} has no Kubo"));
        };
        kubo.slot.set_trouble(trouble);
        if matches!(trouble, IpfsTrouble::Down | IpfsTrouble::Emptied) {
            sim.crash(kubo.machine, Crash::Kill, false);
        }
        if trouble == IpfsTrouble::Emptied
            && let Some(host) = sim.host(kubo.machine)
        {
            host.disk().wipe();
        }
        if trouble != IpfsTrouble::Down {
            sim.boot(kubo.machine)?;
        }
        Ok(format!("the IPFS node of peer {peer} is {trouble:?}"))
    }

    fn links(&mut self, sim: &Simulation, fault: &Fault, leader: Option<HostId>) -> String {
        match fault {
            Fault::Partition { side, one_way } => self.partition(sim, side, *one_way, leader),
            Fault::CutZone { zone } => {
                let near = self.targets.topology.peers_of(zone).to_vec();
                let far = self.others(&near);
                self.separate(sim, &near, &far);
                format!("zone {zone} is cut off: {near:?} and {far:?} do not see each other")
            }
            Fault::Bridge { peer } => {
                let middle = self.settle(*peer, leader);
                let others = self.others(&[middle]);
                let (a, b) = others.split_at(others.len() / 2);
                self.separate(sim, a, b);
                format!("{a:?} and {b:?} meet only through peer {middle}")
            }
            Fault::Isolate { peer } => {
                let alone = self.settle(*peer, leader);
                self.separate(sim, &[alone], &self.others(&[alone]));
                format!("peer {alone} is alone")
            }
            Fault::Mute { peer } => {
                let mute = self.settle(*peer, leader);
                self.cut(sim, &[mute], &self.others(&[mute]));
                format!("peer {mute} is not heard")
            }
            Fault::Reset { peer } => {
                let peer = self.settle(*peer, leader);
                let mut world = sim.world().lock();
                for other in self.all() {
                    world.network.reset_between(peer, other);
                }
                format!("connections of peer {peer} are reset")
            }
            Fault::SlowLink { peer, latency_ms } => {
                let peer = self.settle(*peer, leader);
                self.slow_link(sim, peer, *latency_ms);
                format!("links of peer {peer} take {latency_ms} ms")
            }
            _ => String::new(),
        }
    }

    fn slow_link(&self, sim: &Simulation, peer: HostId, latency_ms: u64) {
        let micros = latency_ms * 1_000;
        let mut world = sim.world().lock();
        for other in self.all() {
            for (from, to) in [(peer, other), (other, peer)] {
                let usual = self.targets.topology.link(from, to);
                let slow = Link {
                    latency_us: (micros, micros + micros / 4),
                    ..usual
                };
                let link = if latency_ms > 0 { slow } else { usual };
                world.network.links().set(from, to, Some(link));
            }
        }
    }

    fn partition(
        &mut self,
        sim: &Simulation,
        side: &[Who],
        one_way: bool,
        leader: Option<HostId>,
    ) -> String {
        let mut near: BTreeSet<HostId> = BTreeSet::new();
        for who in side {
            near.insert(self.settle(*who, leader));
        }
        if side.is_empty() {
            near.insert(self.settle(Who::Leader, leader));
            let minority = (self.roster.len() - 1) / 2;
            let near_first: Vec<HostId> = near.iter().copied().collect();
            let others = self.others(&near_first);
            near.extend(others.iter().take(minority.saturating_sub(1)));
        }
        let near: Vec<HostId> = near.into_iter().collect();
        let far = self.others(&near);
        if one_way {
            self.cut(sim, &near, &far);
            return format!("nothing from {near:?} arrives at {far:?}");
        }
        self.separate(sim, &near, &far);
        format!("{near:?} and {far:?} do not see each other")
    }

    fn others(&self, than: &[HostId]) -> Vec<HostId> {
        let mut all = self.all();
        all.retain(|peer| !than.contains(peer));
        all
    }

    /// The machines of a place: the peer and the Kubo beside it.
    fn machines(&self, peer: HostId) -> Vec<HostId> {
        let kubo = self.targets.kubos.get(&peer).map(|kubo| kubo.machine);
        [peer].into_iter().chain(kubo).collect()
    }

    /// Lets nothing pass from these to those.
    fn cut(&self, sim: &Simulation, from: &[HostId], to: &[HostId]) {
        let mut world = sim.world().lock();
        for (from, to) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
            for a in self.machines(from) {
                for b in self.machines(to) {
                    world.network.links().cut(a, b);
                }
            }
        }
    }

    fn separate(&self, sim: &Simulation, a: &[HostId], b: &[HostId]) {
        self.cut(sim, a, b);
        self.cut(sim, b, a);
    }

    /// Makes every link what it is in fair weather.
    pub fn lay_links(&self, sim: &Simulation) {
        let mut world = sim.world().lock();
        let last = self.targets.peers + self.targets.joiners.len();
        for a in 1..=last {
            for b in 1..=last {
                let link = self.targets.topology.link(a, b);
                world.network.links().set(a, b, Some(link));
            }
        }
    }

    /// Everything is well again: links, disks, clocks; and whoever is down starts.
    pub fn heal_all(&mut self, sim: &mut Simulation) -> io::Result<()> {
        {
            let mut world = sim.world().lock();
            let calm = |link: Link| Link {
                loss_ppm: 0,
                reset_ppm: 0,
                ..link
            };
            let elsewhere = calm(self.targets.topology.link(0, 0));
            world.network.links().set_usual(elsewhere);
            for a in self.all() {
                for b in self.all() {
                    let link = calm(self.targets.topology.link(a, b));
                    world.network.links().set(a, b, Some(link));
                }
            }
            world.network.mend();
        }
        let hosts = self.roster.iter().chain(&self.targets.foreign);
        for host in hosts.copied().collect::<Vec<_>>() {
            if let Some(host) = sim.host_mut(host) {
                host.set_wall_clock(0, 0);
                host.disk().set_faults(|d| *d = DiskFaults::default());
            }
            sim.boot(host)?;
        }
        for kubo in self.targets.kubos.values() {
            kubo.slot.set_trouble(IpfsTrouble::Well);
            sim.boot(kubo.machine)?;
        }
        sim.world().note(format_args!("healed"));
        Ok(())
    }
}

fn stop(sim: &mut Simulation, peers: &[HostId], kind: CrashKind) {
    let crash = Crash::from(kind);
    for peer in peers {
        sim.crash(*peer, crash, crash == Crash::PowerLoss);
    }
}
