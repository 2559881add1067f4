//! The tracker's loop: one owner of the queue and of what runs.

use std::{io, path::PathBuf, time::Duration};

use ipfs_cluster_protocol::{
    id::{ClusterId, PeerId, Rev, Seq},
    pin::PinPhase,
    status::Detail,
};
use rand::Rng;
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    gone::GoneReport,
    handle::{Inbox, Load, Order},
    ledger::Ledger,
    queue::Lane,
    tracking::Tracking,
    walk::own_number,
    work::{self, Job, Worked},
};
use crate::{
    cluster::wall_clock,
    env::Env,
    ipfs::{IpfsError, SharedIpfs},
    status::StatusTables,
    storage::{Changed, Changes, StateStore},
    worker::Stop,
};

/// What the tracker is told of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct TrackerSettings {
    /// Pins worked on at once.
    pub(crate) concurrent: usize,
    /// Pins that wait at most; what is more is found again by a walk.
    pub(crate) queue_max: usize,
    /// How often everything is compared.
    pub(crate) recover_interval: Duration,
    /// Nothing is ever unpinned.
    pub(crate) unpin_disable: bool,
}

/// The parts the tracker is made of.
#[derive(Debug)]
pub(crate) struct TrackerParts {
    pub(crate) me: PeerId,
    pub(crate) cluster: ClusterId,
    pub(crate) ledger: PathBuf,
    pub(crate) state: StateStore,
    pub(crate) changes: Changes,
    pub(crate) ipfs: SharedIpfs,
    pub(crate) tables: StatusTables,
    pub(crate) gone: mpsc::Sender<GoneReport>,
    pub(crate) settings: TrackerSettings,
}

/// What every job needs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) me: PeerId,
    pub(super) state: StateStore,
    pub(super) ipfs: SharedIpfs,
    pub(super) tables: StatusTables,
    pub(super) ledger: Ledger,
    pub(super) gone: mpsc::Sender<GoneReport>,
    pub(super) settings: TrackerSettings,
    pub(super) load: watch::Receiver<Load>,
}

/// The longest pause for an IPFS node that does not answer.
const NODE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// After the state could not be read.
const STATE_PAUSE: Duration = Duration::from_secs(5);

/// Runs until the peer stops.
pub(crate) async fn run(parts: TrackerParts, inbox: Inbox, env: Env, stop: Stop) {
    match Ledger::open(&env, parts.ledger.clone(), parts.cluster).await {
        Ok(ledger) => Loop::new(parts, ledger, inbox).run(stop).await,
        Err(e) => no_ledger(&parts.ledger, &e),
    }
}

fn no_ledger(path: &std::path::Path, e: &io::Error) {
    tracing::error!(
        file = %path.display(), error = %e,
        "the tracker's ledger cannot be opened: mend the disk, or remove the file (then nothing \
         that is pinned now will ever be unpinned)"
    );
}

struct Loop {
    tracking: Tracking,
    changes: Changes,
    orders: mpsc::Receiver<Order>,
    load: watch::Sender<Load>,
    jobs: JoinSet<(Job, Worked)>,
    retrying: usize,
    seen: Rev,
    /// The IPFS node did not answer: until then it is left alone.
    hold_until: Instant,
    hold: Duration,
}

impl Loop {
    fn new(parts: TrackerParts, ledger: Ledger, inbox: Inbox) -> Self {
        let shared = Parts {
            me: parts.me,
            state: parts.state,
            ipfs: parts.ipfs,
            tables: parts.tables,
            ledger,
            gone: parts.gone,
            settings: parts.settings,
            load: inbox.load.subscribe(),
        };
        Self {
            tracking: Tracking::new(shared),
            changes: parts.changes,
            orders: inbox.orders,
            load: inbox.load,
            jobs: JoinSet::new(),
            retrying: 0,
            seen: Rev(0),
            hold_until: Instant::now(),
            hold: Duration::ZERO,
        }
    }

    async fn run(mut self, mut stop: Stop) {
        let mut look = interval(self.tracking.parts.settings.recover_interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        loop {
            self.dispatch();
            let wake = self.wake_at();
            tokio::select! {
                biased;
                () = stop.stopped() => return,
                Some(done) = self.jobs.join_next_with_id() => self.finished(done),
                Some(order) = self.orders.recv() => self.obey(order).await,
                changed = self.changes.next(self.seen) => self.follow(changed).await,
                () = sleep_until(wake) => {}
                _ = look.tick() => self.walk_again().await,
            }
        }
    }

    /// Gives jobs to idle workers.
    fn dispatch(&mut self) {
        let workers = self.tracking.parts.settings.concurrent.max(1);
        while Instant::now() >= self.hold_until && self.tracking.running.len() < workers {
            let retries = self.retrying < (workers / 2).max(1);
            let now = self.tracking.now_ms();
            let Some((seq, lane)) = self.tracking.queue.pop(now, retries) else {
                break;
            };
            let Some(number) = self.tracking.number else {
                break;
            };
            self.retrying += usize::from(lane == Lane::Retry);
            let job = Job { seq, lane, number };
            let parts = self.tracking.parts.clone();
            let handle = self
                .jobs
                .spawn(async move { (job, work::work(&parts, job).await) });
            self.tracking.running.insert(seq, handle);
        }
        let load = Load {
            queued: self.tracking.queue.len(),
            running: self.tracking.running.len(),
        };
        self.load
            .send_if_modified(|old| std::mem::replace(old, load) != load);
    }

    fn wake_at(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let due = self.tracking.next_due().unwrap_or(far);
        let workers = self.tracking.parts.settings.concurrent.max(1);
        // While all workers are busy, only one that ends can take what is due.
        let idle = self.tracking.running.len() < workers;
        if idle && self.tracking.queue.len() > 0 {
            due.max(self.hold_until)
        } else {
            far
        }
    }

    fn finished(&mut self, done: Result<(Id, (Job, Worked)), tokio::task::JoinError>) {
        self.retrying = self.retrying.min(self.jobs.len());
        let (id, job, worked) = match done {
            Ok((id, (job, worked))) => (id, job, worked),
            Err(e) => {
                self.broken(&e);
                return;
            }
        };
        self.retrying -= usize::from(job.lane == Lane::Retry && self.retrying > 0);
        let current = self
            .tracking
            .running
            .get(&job.seq)
            .map(tokio::task::AbortHandle::id);
        if current != Some(id) {
            // Replaced meanwhile: what it found is out of date.
            return;
        }
        self.tracking.running.remove(&job.seq);
        if !matches!(
            worked,
            Worked::Failed {
                node_away: true,
                ..
            }
        ) {
            self.hold = Duration::ZERO;
        }
        self.settle(job.seq, worked);
        if self.tracking.overflowed && self.tracking.queue.len() == 0 {
            self.tracking.overflowed = false;
            self.changes.note_all(self.seen);
        }
    }

    fn settle(&mut self, seq: Seq, worked: Worked) {
        let tables = &self.tracking.parts.tables;
        match worked {
            Worked::Held => {
                self.tracking.failures.remove(&seq);
                tables.set(seq, PinPhase::Pinned, None);
            }
            Worked::Reported => {
                self.tracking.failures.remove(&seq);
                // It ends when the report is applied; should it get lost, it is made again.
                let jitter = rand::rng().random();
                let now = self.tracking.now_ms();
                self.tracking.queue.retry(seq, 4, now, jitter);
            }
            Worked::Nothing => tables.clear(seq),
            Worked::Failed {
                phase,
                error,
                node_away,
            } => {
                let attempts = self.tracking.failures.entry(seq).or_default();
                *attempts = attempts.saturating_add(1);
                let attempts = *attempts;
                let detail = Detail {
                    error,
                    attempts,
                    at: wall_clock(),
                };
                tables.set(seq, phase, Some(detail.bounded()));
                let now = self.tracking.now_ms();
                self.tracking
                    .queue
                    .retry(seq, attempts, now, rand::rng().random());
                if node_away {
                    self.hold = (self.hold * 2).clamp(Duration::from_secs(1), NODE_PAUSE_MAX);
                    self.hold_until = Instant::now() + self.hold;
                }
            }
        }
    }

    /// A job was aborted (and is gone already) or panicked (and is tried again).
    fn broken(&mut self, e: &tokio::task::JoinError) {
        let found = self
            .tracking
            .running
            .iter()
            .find(|(_, handle)| handle.id() == e.id());
        if let Some(seq) = found.map(|(seq, _)| *seq) {
            tracing::error!(%seq, error = %e, "a pin job broke");
            self.tracking.running.remove(&seq);
            let error = format!("internal error: {e}");
            let phase = self.tracking.phase(seq).unwrap_or(PinPhase::PinError);
            self.settle(
                seq,
                Worked::Failed {
                    phase,
                    error,
                    node_away: false,
                },
            );
        }
    }

    async fn follow(&mut self, changed: Changed) {
        let up_to = changed.up_to;
        match self.tracking.take_in(changed).await {
            Ok(()) => self.seen = up_to,
            Err(e) => {
                tracing::warn!(error = %e, "the tracker cannot read the state");
                tokio::time::sleep(STATE_PAUSE).await;
                self.changes.note_all(up_to);
            }
        }
    }

    /// Compares everything: what was lost behind our back, and what failed.
    async fn walk_again(&mut self) {
        if let Some(number) = self.tracking.number
            && let Err(e) = self.tracking.walk_all(number).await
        {
            tracing::warn!(error = %e, "the tracker cannot read the state");
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Recover(cid, reply) => {
                let found = self.tracking.failed_seq(cid).await;
                if let Some((seq, phase)) = found {
                    self.tracking.enqueue(seq, queued(phase));
                }
                let _ = reply.send(found.is_some());
            }
            Order::RecoverAll(reply) => {
                let failed = self.tracking.all_failed().await;
                for (seq, phase, _) in &failed {
                    self.tracking.enqueue(*seq, queued(*phase));
                }
                let _ = reply.send(failed.into_iter().map(|(_, _, cid)| cid).collect());
            }
        }
        // What was held back for the node's sake is tried now.
        self.hold_until = Instant::now();
        if self.tracking.number.is_none() {
            let parts = &self.tracking.parts;
            self.tracking.number = own_number(&parts.state, &parts.me).await.unwrap_or(None);
        }
    }
}

fn queued(phase: PinPhase) -> PinPhase {
    match phase {
        PinPhase::UnpinError => PinPhase::UnpinQueued,
        _ => PinPhase::PinQueued,
    }
}

impl From<&IpfsError> for Worked {
    /// A failure to pin.
    fn from(e: &IpfsError) -> Self {
        Self::Failed {
            phase: PinPhase::PinError,
            error: e.to_string(),
            node_away: matches!(e, IpfsError::Unreachable(_)),
        }
    }
}
