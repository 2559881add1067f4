//! A machine's disk: real files' semantics, in memory, with crashes.
//!
//! Every operation has a cost in virtual time and takes place at a moment of it. A job in a lane
//! runs at once, but its operations are journalled with the moments they would have had, so that a
//! crash in between cuts the job in two. A crash *fences* first: whatever the dying life still
//! tries (stores commit when they are dropped) fails.

mod files;
mod inode;
mod names;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use files::Files;

use self::{inode::Inode, names::Names};
use crate::world::{Micros, Rng, now};

/// How a machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: the kernel keeps what was written.
    Kill,
    /// Power is lost: what was not synced may be gone.
    PowerLoss,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFaults {
    /// Bytes it holds.
    pub capacity: u64,
    /// Times its operations are slower than usual.
    pub slowness: u64,
    /// Syncs that will fail.
    pub sync_errors: u32,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self {
            capacity: 1 << 40,
            slowness: 1,
            sync_errors: 0,
        }
    }
}

/// What an operation costs.
#[derive(Debug, Clone, Copy)]
enum Cost {
    Name,
    Read(usize),
    Write(usize),
    /// Bytes that are not on the platter yet.
    Sync(u64),
}

/// A disk; outlives the lives of its machine.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Store>>);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

struct Store {
    rng: Rng,
    faults: DiskFaults,
    inodes: std::collections::BTreeMap<u64, Inode>,
    names: Names,
    next_inode: u64,
    /// Bytes of all files.
    used: u64,
    locks: std::collections::BTreeSet<PathBuf>,
    /// Which life of the machine may touch it.
    life: u64,
    /// Moment of the next operation, while a lane's job runs.
    cursor: Option<Micros>,
    /// Whether that job has synced anything.
    synced: bool,
    /// When results of jobs are handed over.
    hand_overs: std::collections::BTreeSet<Micros>,
}

impl Store {
    /// Charges an operation; answers when it has taken place.
    fn charge(&mut self, cost: Cost) -> Micros {
        let micros = match cost {
            Cost::Name => 10,
            Cost::Read(len) => 2 + len as u64 / 2_000,
            Cost::Write(len) => 3 + len as u64 / 1_000,
            Cost::Sync(dirty) => {
                self.synced = true;
                self.rng.between(300, 2_000) + dirty / 200
            }
        };
        let micros = micros.saturating_mul(self.faults.slowness.max(1));
        match &mut self.cursor {
            Some(cursor) => {
                *cursor += micros;
                *cursor
            }
            // Outside a lane nobody waits: it has happened.
            None => now(),
        }
    }

    fn sync_fails(&mut self) -> bool {
        let left = self.faults.sync_errors;
        self.faults.sync_errors = left.saturating_sub(1);
        left > 0
    }
}

/// When a lane's job is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobEnd {
    pub(crate) at: Micros,
    /// It must not be answered before.
    pub(crate) exact: bool,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64, host: crate::world::HostId) -> Self {
        Self(Arc::new(Mutex::new(Store {
            rng: Rng::new(seed, &format!("disk {host}")),
            faults: DiskFaults::default(),
            inodes: std::collections::BTreeMap::new(),
            names: Names::default(),
            next_inode: 1,
            used: 0,
            locks: std::collections::BTreeSet::new(),
            life: 0,
            cursor: None,
            synced: false,
            hand_overs: std::collections::BTreeSet::new(),
        })))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files, for the present life of the machine.
    #[must_use]
    pub fn files(&self) -> Files {
        Files::new(self.clone(), self.store().life)
    }

    /// Changes what is wrong with it.
    pub fn set_faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.store().faults);
    }

    /// From here on, what the present life does fails.
    pub fn fence(&self) {
        self.store().life += 1;
    }

    /// What the crash leaves; fence first. Returns how many written bytes are gone.
    pub fn crash(&self, kind: Crash, now: Micros) -> u64 {
        let mut store = self.store();
        let Store {
            rng, inodes, names, ..
        } = &mut *store;
        let mut lost = 0;
        match kind {
            Crash::Kill => {
                names.kill(now);
                inodes.values_mut().for_each(|inode| inode.kill(now));
            }
            Crash::PowerLoss => {
                names.power_loss(now, rng);
                for inode in inodes.values_mut() {
                    lost += inode.power_loss(now, rng);
                }
            }
        }
        let linked: std::collections::BTreeSet<u64> = names.files().collect();
        inodes.retain(|n, _| linked.contains(n));
        store.used = store.inodes.values().map(Inode::len).sum();
        store.locks.clear();
        store.hand_overs.clear();
        lost
    }

    /// The disk is replaced by an empty one; fence first.
    pub fn wipe(&self) {
        let mut store = self.store();
        store.inodes.clear();
        store.names = Names::default();
        store.used = 0;
        store.locks.clear();
    }

    pub(crate) fn life(&self) -> u64 {
        self.store().life
    }

    /// Somebody will take the result of a job then.
    pub(crate) fn hands_over(&self, at: Micros) {
        self.store().hand_overs.insert(at);
    }

    /// The first moment at which somebody takes a result.
    pub(crate) fn next_hand_over(&self) -> Option<Micros> {
        self.store().hand_overs.first().copied()
    }

    /// They have been taken up to a moment.
    pub(crate) fn handed_over(&self, until: Micros) {
        let mut store = self.store();
        while store.hand_overs.first().is_some_and(|at| *at <= until) {
            store.hand_overs.pop_first();
        }
    }

    /// Lets what follows take place from `start` on.
    pub(crate) fn begin_job(&self, start: Micros) -> Option<Micros> {
        let mut store = self.store();
        store.synced = false;
        store.cursor.replace(start)
    }

    pub(crate) fn end_job(&self, outer: Option<Micros>) -> JobEnd {
        let mut store = self.store();
        JobEnd {
            at: std::mem::replace(&mut store.cursor, outer).unwrap_or_else(now),
            exact: store.synced,
        }
    }

    /// A draw of its stream of numbers.
    pub(crate) fn chance(&self, ppm: u64) -> bool {
        self.store().rng.chance(ppm)
    }
}
