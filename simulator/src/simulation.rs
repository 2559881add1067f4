//! Drives the hosts in lockstep through virtual time.

use std::{io, time::Duration};

use crate::{
    disk::Crash,
    host::{Host, Program},
    interpose,
    network::ip,
    world::{HostId, Micros, Trace, World},
};

/// Length of a step: no link may be faster, or a packet would arrive late.
const STEP_US: Micros = 1_000;

/// A world with its hosts. Belongs to one thread, on which [`interpose::enable`] was called.
#[derive(Debug)]
pub struct Simulation {
    seed: u64,
    world: World,
    hosts: Vec<Host>,
    /// Programs that ended by themselves.
    exits: Vec<(HostId, crate::host::Exit)>,
}

impl Simulation {
    /// An empty world at virtual time zero; puts this thread on virtual time.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Self {
        interpose::enable(seed);
        Self {
            seed,
            world: World::new(seed, trace),
            hosts: Vec::new(),
            exits: Vec::new(),
        }
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Adds a machine, not yet started. Its number is also its place in the address `10.0.x.y`.
    pub fn add(&mut self, name: impl Into<String>, program: impl Program + 'static) -> HostId {
        let id = self.hosts.len() + 1;
        let host = Host::new(id, name.into(), self.seed, Box::new(program));
        self.world
            .note(format_args!("host {} at {}", host.name(), ip(id)));
        self.hosts.push(host);
        id
    }

    /// A machine.
    #[must_use]
    pub fn host(&self, id: HostId) -> Option<&Host> {
        self.hosts.get(id.checked_sub(1)?)
    }

    /// A machine, to change it.
    pub fn host_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.hosts.get_mut(id.checked_sub(1)?)
    }

    /// Starts the program of a machine.
    pub fn boot(&mut self, id: HostId) -> io::Result<()> {
        let world = self.world.clone();
        self.host_mut(id).map_or(Ok(()), |host| host.boot(&world))
    }

    /// Stops a machine without warning. When `silent`, not even its kernel says so.
    pub fn crash(&mut self, id: HostId, kind: Crash, silent: bool) {
        let world = self.world.clone();
        if let Some(host) = self.host_mut(id) {
            host.crash(&world, kind, silent);
        }
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.world.lock().step_end
    }

    /// Lets a step of virtual time pass everywhere.
    pub fn step(&mut self) {
        let (now, mut reached) = {
            let mut shared = self.world.lock();
            shared.step_end += STEP_US;
            let now = shared.step_end;
            interpose::set_driver_time(now * 1_000);
            (now, shared.network.begin(now))
        };
        for host in &self.hosts {
            if reached.contains(&host.id()) {
                host.catch_up(now - STEP_US);
            }
        }
        let wakes = {
            let shared = &mut *self.world.lock();
            shared.network.deliver(&mut shared.trace)
        };
        for (host, waker) in wakes {
            reached.insert(host);
            waker.wake();
        }
        for host in &mut self.hosts {
            if !reached.contains(&host.id()) && !host.is_due(now) {
                continue;
            }
            if let Some(exit) = host.step(now) {
                let name = host.name();
                self.world.note(format_args!("exit {name} {exit:?}"));
                self.exits.push((host.id(), exit));
            }
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now() + u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2);
        while self.now() < end {
            self.step();
        }
    }

    /// Lets time pass until something holds; false when it does not within `at_most`.
    pub fn run_until(&mut self, at_most: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now() + u64::try_from(at_most.as_micros()).unwrap_or(u64::MAX / 2);
        while !holds(self) {
            if self.now() >= end {
                return false;
            }
            self.step();
        }
        true
    }

    /// Programs that ended by themselves since the last call.
    pub fn take_exits(&mut self) -> Vec<(HostId, crate::host::Exit)> {
        std::mem::take(&mut self.exits)
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // Tasks hold doors: they go while the world is still there, silently.
        for id in 1..=self.hosts.len() {
            self.crash(id, Crash::Kill, true);
        }
    }
}
