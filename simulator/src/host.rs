//! One machine: its disk, its clock's error, and the life of the program on it.

use std::{cell::Cell, fmt, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use ipfs_cluster_node::env::{Discovery, Env};
use tokio::{runtime::Runtime, task::JoinHandle, time::Instant};

use crate::{
    disk::{Crash, SimDisk},
    interpose,
    lanes::InlineLanes,
    network::{Pipes, Sockets},
    world::{HostId, Micros, World},
};

/// What runs on a machine. One value serves all lives of it.
pub trait Program {
    /// The main function of one life: it starts anew from what the disk holds.
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>>;

    /// The life is over: drops whatever is still held of it. Called with the disk fenced.
    fn forget(&mut self) {}
}

impl<F: FnMut(Env) -> BoxFuture<'static, Result<(), String>>> Program for F {
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>> {
        self(env)
    }
}

/// How long a machine that nothing happens to is left alone: so much later than they fire, the others
/// see what its timers do. What arrives, and the end of a disk's job, are seen at once.
const ALONE_US: Micros = 4_000;

/// How a program ended by itself.
pub type Exit = Result<(), String>;

struct Life {
    runtime: Runtime,
    main: Option<JoinHandle<Exit>>,
    /// The runtime's clock at `booted`.
    clock: Instant,
    booted: Micros,
    /// How far its clock has come.
    reached: Cell<Micros>,
    /// It was given something to do.
    called: Cell<bool>,
}

impl Life {
    /// Lets it do what is to be done up to a moment, what its timers start just then included.
    fn run(&self, until: Micros) {
        let due = self.clock + Duration::from_micros(until.saturating_sub(self.booted));
        self.runtime.block_on(async {
            tokio::time::sleep_until(due).await;
            tokio::task::yield_now().await;
        });
        self.reached.set(until);
    }
}

/// A machine.
pub struct Host {
    id: HostId,
    name: String,
    disk: SimDisk,
    program: Box<dyn Program>,
    life: Option<Life>,
    /// Error of the wall clock: a jump and a drift.
    wall_offset_ns: i64,
    wall_drift_ppm: i64,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.name)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn new(id: HostId, name: String, seed: u64, program: Box<dyn Program>) -> Self {
        Self {
            id,
            name,
            disk: SimDisk::new(seed, id),
            program,
            life: None,
            wall_offset_ns: 0,
            wall_drift_ppm: 0,
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Its name in traces.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Whether its program runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// Puts the wall clock forward (or back), and lets it gain (or lose) from now on.
    pub fn set_wall_clock(&mut self, offset: i64, drift_ppm: i64) {
        self.wall_offset_ns = offset;
        self.wall_drift_ppm = drift_ppm;
    }

    fn enter(&self, at: Micros) {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        // 1 ppm of a microsecond is a thousandth of a nanosecond.
        let drift = at.saturating_mul(self.wall_drift_ppm) / 1_000;
        interpose::enter(self.id, self.wall_offset_ns.saturating_add(drift));
    }

    /// Starts the program.
    pub(crate) fn boot(&mut self, world: &World) -> std::io::Result<()> {
        if self.life.is_some() {
            return Ok(());
        }
        let booted = {
            let mut shared = world.lock();
            shared.network.start(self.id);
            shared.note(format_args!("boot {}", self.name));
            shared.step_end
        };
        self.enter(booted);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_unpark(interpose::clock_moved)
            .build()?;
        let clock = runtime.block_on(async { Instant::now() });
        let main = {
            let _inside = runtime.enter();
            runtime.spawn(self.program.main(self.env(world)))
        };
        interpose::enter(0, 0);
        self.life = Some(Life {
            runtime,
            main: Some(main),
            clock,
            booted,
            reached: Cell::new(booted),
            called: Cell::new(true),
        });
        Ok(())
    }

    fn env(&self, world: &World) -> Env {
        let sockets = Arc::new(Sockets {
            world: world.clone(),
            host: self.id,
        });
        Env {
            transport: Arc::new(Pipes {
                world: world.clone(),
                host: self.id,
            }),
            disk: Arc::new(self.disk.files()),
            lanes: Arc::new(InlineLanes::new(self.disk.clone())),
            listen: sockets.clone(),
            connect: sockets,
            discovery: Arc::new(NoNeighbours),
        }
    }

    /// Whether it is to run now, though nothing reaches it over the network.
    pub(crate) fn is_due(&self, now: Micros) -> bool {
        self.life.as_ref().is_some_and(|life| {
            life.called.get()
                || life.reached.get() + ALONE_US <= now
                || self.disk.next_hand_over().is_some_and(|at| at <= now)
        })
    }

    /// Lets it do what was to be done before a moment at which something is about to reach it.
    pub(crate) fn catch_up(&self, until: Micros) {
        if let Some(life) = &self.life
            && life.reached.get() < until
        {
            self.enter(until);
            life.run(until);
            interpose::enter(0, 0);
        }
    }

    /// Runs until the given moment; answers when the program ends by itself.
    pub(crate) fn step(&mut self, until: Micros) -> Option<Exit> {
        self.enter(until);
        let life = self.life.as_mut()?;
        life.called.set(false);
        life.run(until);
        self.disk.handed_over(until);
        let ended = life.main.take_if(|main| main.is_finished());
        let exit = ended.map(|main| {
            life.runtime
                .block_on(main)
                .unwrap_or_else(|panic| Err(panic.to_string()))
        });
        interpose::enter(0, 0);
        exit
    }

    /// Runs something on its runtime, in its name, from `now` on.
    pub fn spawn(&self, now: Micros, task: impl Future<Output = ()> + Send + 'static) {
        self.catch_up(now);
        if let Some(life) = &self.life {
            life.runtime.spawn(task);
            life.called.set(true);
        }
    }

    /// Ends the present life. Only what the kind of crash leaves is there in the next.
    pub(crate) fn crash(&mut self, world: &World, kind: Crash, silent: bool) {
        let now = world.lock().step_end;
        self.catch_up(now);
        let Some(life) = self.life.take() else {
            return;
        };
        // First the fences: stores commit and streams say goodbye when they are dropped.
        self.disk.fence();
        world.lock().network.stop(self.id, silent);
        self.enter(now);
        self.program.forget();
        drop(life);
        let lost = self.disk.crash(kind, now);
        interpose::enter(0, 0);
        world.note(format_args!(
            "crash {} {kind:?}: {lost} bytes lost",
            self.name
        ));
    }
}

/// A network without multicast.
struct NoNeighbours;

impl Discovery for NoNeighbours {
    fn run(&self, _: &str, _: Vec<String>) -> BoxStream<'static, String> {
        stream::empty().boxed()
    }
}
