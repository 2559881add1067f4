//! Makes faults happen.

use std::{collections::BTreeSet, io};

use crate::{
    disk::{Crash, DiskFaults},
    network::Link,
    scenario::{Fault, Who},
    simulation::Simulation,
    world::{HostId, Rng},
};

/// Of what is wrong with a disk.
type Change = Box<dyn FnOnce(&mut DiskFaults)>;

/// Applies faults to the peers, which are hosts 1 to `peers`.
#[derive(Debug)]
pub struct Injector {
    peers: usize,
    rng: Rng,
    usual: Link,
}

impl Injector {
    /// For a run of this seed.
    #[must_use]
    pub fn new(seed: u64, peers: usize, usual: Link) -> Self {
        Self {
            peers,
            rng: Rng::new(seed, "faults"),
            usual,
        }
    }

    /// How many peers there are.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers
    }

    fn all(&self) -> impl Iterator<Item = HostId> + use<> {
        1..=self.peers
    }

    fn settle(&mut self, who: Who, leader: Option<HostId>) -> HostId {
        let candidates: Vec<HostId> = match (who, leader) {
            (Who::Peer(n), _) => vec![n],
            (Who::Leader, Some(leader)) => vec![leader],
            (Who::Follower, Some(leader)) => self.all().filter(|p| *p != leader).collect(),
            (Who::Leader | Who::Follower, None) | (Who::Any, _) => self.all().collect(),
        };
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
            Fault::Blackout { kind } => {
                for peer in self.all() {
                    sim.crash(
                        peer,
                        (*kind).into(),
                        *kind == crate::scenario::CrashKind::PowerLoss,
                    );
                }
                format!("all peers stop ({kind:?})")
            }
            Fault::Restart { peer } => self.restart(sim, *peer, leader)?,
            Fault::Crash { peer, kind } => {
                let peer = self.settle(*peer, leader);
                let crash = Crash::from(*kind);
                sim.crash(peer, crash, crash == Crash::PowerLoss);
                format!("peer {peer} stops ({crash:?})")
            }
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
            Fault::SlowDisk { .. } | Fault::FullDisk { .. } | Fault::SyncError { .. } => {
                self.disk(sim, fault, leader)
            }
            _ => self.links(sim, fault, leader),
        };
        sim.world().note(format_args!("fault {text}"));
        Ok(text)
    }

    fn restart(
        &mut self,
        sim: &mut Simulation,
        peer: Option<Who>,
        leader: Option<HostId>,
    ) -> io::Result<String> {
        let peers: Vec<HostId> = match peer {
            Some(who) => vec![self.settle(who, leader)],
            None => self.all().collect(),
        };
        let down: Vec<HostId> = peers
            .into_iter()
            .filter(|peer| sim.host(*peer).is_some_and(|host| !host.is_up()))
            .collect();
        for peer in &down {
            sim.boot(*peer)?;
        }
        Ok(format!("peers {down:?} start"))
    }

    fn disk(&mut self, sim: &Simulation, fault: &Fault, leader: Option<HostId>) -> String {
        let (who, change): (Who, Change) = match *fault {
            Fault::SlowDisk { peer, times } => (peer, Box::new(move |d| d.slowness = times)),
            Fault::FullDisk { peer, full } => {
                let capacity = if full {
                    0
                } else {
                    DiskFaults::default().capacity
                };
                (peer, Box::new(move |d| d.capacity = capacity))
            }
            Fault::SyncError { peer, times } => (peer, Box::new(move |d| d.sync_errors = times)),
            _ => return String::new(),
        };
        let peer = self.settle(who, leader);
        if let Some(host) = sim.host(peer) {
            host.disk().set_faults(change);
        }
        format!("{fault:?} at peer {peer}")
    }

    fn links(&mut self, sim: &Simulation, fault: &Fault, leader: Option<HostId>) -> String {
        match fault {
            Fault::Partition { side } => self.partition(sim, side, leader),
            Fault::Bridge { peer } => {
                let middle = self.settle(*peer, leader);
                let others: Vec<HostId> = self.all().filter(|p| *p != middle).collect();
                let (a, b) = others.split_at(others.len() / 2);
                separate(sim, a, b);
                format!("{a:?} and {b:?} meet only through peer {middle}")
            }
            Fault::Isolate { peer } => {
                let alone = self.settle(*peer, leader);
                let others: Vec<HostId> = self.all().filter(|p| *p != alone).collect();
                separate(sim, &[alone], &others);
                format!("peer {alone} is alone")
            }
            Fault::Mute { peer } => {
                let mute = self.settle(*peer, leader);
                let mut world = sim.world().lock();
                for other in self.all() {
                    world.network.links().cut(mute, other);
                }
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
                let micros = latency_ms * 1_000;
                let slow = Link {
                    latency_us: (micros, micros + micros / 4),
                    ..self.usual
                };
                let link = (*latency_ms > 0).then_some(slow);
                let mut world = sim.world().lock();
                for other in self.all() {
                    world.network.links().set(peer, other, link);
                    world.network.links().set(other, peer, link);
                }
                format!("links of peer {peer} take {latency_ms} ms")
            }
            _ => String::new(),
        }
    }

    fn partition(&mut self, sim: &Simulation, side: &[Who], leader: Option<HostId>) -> String {
        let mut near: BTreeSet<HostId> = BTreeSet::new();
        for who in side {
            near.insert(self.settle(*who, leader));
        }
        if side.is_empty() {
            near.insert(self.settle(Who::Leader, leader));
            let minority = (self.peers - 1) / 2;
            let others: Vec<HostId> = self.all().filter(|p| !near.contains(p)).collect();
            near.extend(others.iter().take(minority.saturating_sub(1)));
        }
        let near: Vec<HostId> = near.into_iter().collect();
        let far: Vec<HostId> = self.all().filter(|p| !near.contains(p)).collect();
        separate(sim, &near, &far);
        format!("{near:?} and {far:?} do not see each other")
    }

    /// Everything is well again: links, disks, clocks; and whoever is down starts.
    pub fn heal_all(&mut self, sim: &mut Simulation) -> io::Result<()> {
        {
            let mut world = sim.world().lock();
            world.network.links().set_usual(Link {
                loss_ppm: 0,
                reset_ppm: 0,
                ..self.usual
            });
            for a in self.all() {
                for b in self.all() {
                    world.network.links().set(a, b, None);
                }
            }
            world.network.mend();
        }
        for peer in self.all() {
            if let Some(host) = sim.host_mut(peer) {
                host.set_wall_clock(0, 0);
                host.disk().set_faults(|d| *d = DiskFaults::default());
            }
            sim.boot(peer)?;
        }
        sim.world().note(format_args!("healed"));
        Ok(())
    }
}

fn separate(sim: &Simulation, a: &[HostId], b: &[HostId]) {
    let mut world = sim.world().lock();
    for near in a {
        for far in b {
            world.network.links().cut(*near, *far);
            world.network.links().cut(*far, *near);
        }
    }
}
