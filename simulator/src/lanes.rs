//! Lanes without threads: a job runs at once, its result is handed over when it would be there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::env::{Job, Lane, LaneDoor, Lanes};

use crate::{
    disk::{JobEnd, SimDisk},
    world::{Micros, now},
};

/// Waking a thread and coming back.
const HAND_OVER_US: Micros = 5;

/// Lanes of one life of a machine.
#[derive(Debug, Clone)]
pub struct InlineLanes {
    disk: SimDisk,
    life: u64,
}

impl InlineLanes {
    /// Lanes whose jobs work on `disk`.
    #[must_use]
    pub fn new(disk: SimDisk) -> Self {
        let life = disk.life();
        Self { disk, life }
    }
}

impl Lanes for InlineLanes {
    fn lane(&self, _: &str) -> Lane {
        Lane::new(Arc::new(InlineLane {
            door: self.clone(),
            free_at: Mutex::new(0),
        }))
    }
}

struct InlineLane {
    door: InlineLanes,
    /// When the last job given to it is over.
    free_at: Mutex<Micros>,
}

impl LaneDoor for InlineLane {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        let disk = &self.door.disk;
        if disk.life() != self.door.life {
            return futures::future::ready(()).boxed();
        }
        let start = {
            let free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            now().max(*free_at) + HAND_OVER_US
        };
        let outer = disk.begin_job(start);
        job();
        let end = disk.end_job(outer);
        *self.free_at.lock().unwrap_or_else(PoisonError::into_inner) = end.at;
        let millis = self.hand_over(end);
        disk.hands_over(millis * 1_000);
        async move {
            let wait = Duration::from_millis(millis).saturating_sub(Duration::from_micros(now()));
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        .boxed()
    }
}

impl InlineLane {
    /// The millisecond at which the result is there: timers know no less. What was synced is
    /// never reported early; the rest is rounded by chance, so that short jobs stay short on
    /// average.
    fn hand_over(&self, end: JobEnd) -> u64 {
        let (whole, rest) = (end.at / 1_000, end.at % 1_000);
        let later = if end.exact {
            rest > 0
        } else {
            self.door.disk.chance(rest * 1_000)
        };
        whole + u64::from(later)
    }
}
