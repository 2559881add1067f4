//! Makes a process repeatable: fixed addresses, no environment, one thread.

use std::{io, os::unix::process::CommandExt as _, process::Command, thread};

use crate::interpose;

/// Stack of the thread that a simulation runs on.
const STACK_BYTES: usize = 64 << 20;
/// The main thread, which only waits, and the simulation's.
const THREADS_MAX: usize = 2;

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
        return Ok(());
    }
    let error = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env_clear()
        .exec();
    Err(error)
}

/// Runs a simulation on a thread of its own: its stack lies where no argument of the command line
/// moves it.
pub fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let thread = thread::Builder::new()
        .name("simulation".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            crate::panics::watch();
            work()
        })?;
    thread
        .join()
        .map_err(|_| io::Error::other("the simulation itself panicked"))
}

/// Panics when a thread has appeared: it would run on real time.
pub(crate) fn check_threads() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    assert!(
        threads <= THREADS_MAX,
        "{threads} threads in a simulation: one of them is not simulated"
    );
}
