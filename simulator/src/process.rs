//! Makes a process repeatable: fixed addresses, no environment, one thread.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    process::Command,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use crate::{interpose, world::Micros};

/// Stack of the thread that a simulation runs on.
const STACK_BYTES: usize = 64 << 20;
/// The main thread, which only waits, and the simulation's.
const THREADS_MAX: usize = 2;
/// Between two looks at whether virtual time goes on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time of this process, and of the machine, after which one step has taken too long.
const STUCK_CPU_NS: u64 = 60_000_000_000;
const STUCK_WALL_NS: u64 = 600_000_000_000;

/// Replaces this process by itself with fixed addresses and an empty environment (hashers seed from
/// both), unless it runs so already.
pub fn make_repeatable() -> io::Result<()> {
    let fixed = interpose::fix_addresses();
    let clean = std::env::vars_os().next().is_none();
    if clean && !fixed {
        // Asked for before the last exec, in vain: some sandboxes do not allow it.
        eprintln!("warning: addresses are random here, so a run may not replay exactly");
    }
    if clean {
        interpose::keep_memory();
        return Ok(());
    }
    let error = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env_clear()
        .exec();
    Err(error)
}

/// Virtual time of the simulation, for the thread that watches it.
static REACHED: AtomicU64 = AtomicU64::new(0);

/// Tells the watching thread that time goes on.
pub(crate) fn note_progress(now: Micros) {
    REACHED.store(now, Ordering::Relaxed);
}

/// Why a simulation gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// No thread.
    #[error("a thread cannot be started")]
    Thread(#[from] io::Error),
    /// A bug of the simulator.
    #[error("the simulation itself panicked")]
    Panicked,
    /// Somebody runs in circles, or waits for a lock, while virtual time stands still.
    #[error("virtual time stands still at {0} µs")]
    Stuck(Micros),
}

/// Runs a simulation on a thread of its own: its stack lies where no argument of the command line
/// moves it.
pub fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Broken> {
    let (done, result) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("simulation".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            crate::panics::watch();
            let _ = done.send(work());
        })?;
    let mut seen = (Micros::MAX, 0, 0);
    loop {
        match result.recv_timeout(LOOK_EVERY) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => return Err(Broken::Panicked),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = REACHED.load(Ordering::Relaxed);
        let (cpu, wall) = (interpose::cpu_ns(), interpose::machine_ns());
        if now != seen.0 {
            seen = (now, cpu, wall);
        } else if cpu - seen.1 > STUCK_CPU_NS || wall - seen.2 > STUCK_WALL_NS {
            return Err(Broken::Stuck(now));
        }
    }
}

/// Resident bytes of this process; 0 where that cannot be told.
pub(crate) fn memory() -> u64 {
    /// Bytes of a page, on every machine that simulations run on.
    const PAGE: u64 = 4_096;
    let mut text = String::new();
    let opened = OpenOptions::new().read(true).open("/proc/self/statm");
    let read = opened.and_then(|mut file| file.read_to_string(&mut text));
    if read.is_err() {
        return 0;
    }
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}

/// Panics when a thread has appeared: it would run on real time.
pub(crate) fn check_threads() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    assert!(
        threads <= THREADS_MAX,
        "{threads} threads in a simulation: one of them is not simulated"
    );
}
