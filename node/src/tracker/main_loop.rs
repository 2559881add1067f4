//! The tracker's loop: one owner of the queue and of what runs.

use std::{future::ready, time::Duration};

use ipfs_cluster_protocol::id::{MemberNo, Rev, Seq};
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

use super::{
    handle::{Inbox, Load, Order},
    held::{self, Held},
    start::Parts,
    tracking::{Goal, Running, Then, Tracking},
    walk::{Walk, own_number},
    work::{self, Job, Worked},
};
use crate::{
    storage::{Changed, Changes, ReadError},
    worker::Stop,
};

/// The longest pause for an IPFS node that does not answer.
const NODE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// After the state could not be read.
const STATE_PAUSE: Duration = Duration::from_secs(5);
/// With nothing to wait for.
const FAR: Duration = Duration::from_secs(3600);

/// The loop.
pub(super) struct Loop {
    tracking: Tracking,
    changes: Changes,
    orders: mpsc::Receiver<Order>,
    load: watch::Sender<Load>,
    jobs: JoinSet<Worked>,
    walk: Option<Walk>,
    listing: JoinSet<Option<Held>>,
    seen: Rev,
    /// The state could not be read: until then it is left alone.
    state_pause: Instant,
    /// The IPFS node did not answer: until then it is left alone.
    hold_until: Instant,
    hold: Duration,
}

impl Loop {
    pub(super) fn new(parts: Parts, changes: Changes, inbox: Inbox) -> Self {
        Self {
            tracking: Tracking::new(parts),
            changes,
            orders: inbox.orders,
            load: inbox.load,
            jobs: JoinSet::new(),
            walk: None,
            listing: JoinSet::new(),
            seen: Rev(0),
            state_pause: Instant::now(),
            hold_until: Instant::now(),
            hold: Duration::ZERO,
        }
    }

    pub(super) async fn run(mut self, mut stop: Stop) {
        let mut look = every(self.tracking.parts.settings.recover_interval);
        loop {
            self.dispatch();
            let wake = self.wake_at();
            let walking = self.can_walk();
            tokio::select! {
                biased;
                () = stop.stopped() => return,
                Some(done) = self.jobs.join_next_with_id() => self.finished(done).await,
                Some(order) = self.orders.recv() => self.obey(order).await,
                Some(listed) = self.listing.join_next() => self.listed(listed),
                changed = news(&self.changes, self.seen, self.state_pause) => {
                    self.follow(changed).await;
                }
                () = sleep_until(wake) => {}
                _ = look.tick() => self.begin_walk(false),
                () = ready(()), if walking => {}
            }
            // A page after each event: neither holds up the other.
            if walking {
                self.step().await;
            }
        }
    }

    /// Gives jobs to idle workers.
    fn dispatch(&mut self) {
        let workers = self.tracking.parts.settings.concurrent.max(1);
        let now = self.tracking.now_ms();
        self.tracking.queue.wake(now);
        if let Some(number) = self.tracking.number
            && Instant::now() >= self.hold_until
        {
            loop {
                let busy = self.tracking.busy();
                let Some((seq, lane)) = self.tracking.queue.pop(now, &busy, workers) else {
                    break;
                };
                let attempts = self.tracking.failures.get(&seq).copied().unwrap_or(0);
                let job = Job {
                    seq,
                    number,
                    attempts,
                };
                let parts = self.tracking.parts.clone();
                let handle = self
                    .jobs
                    .spawn(async move { work::work(&parts, job).await });
                let unpins = self.tracking.goals.get(&seq) == Some(&Goal::Unpin);
                let then = Then::Settle;
                let running = Running {
                    handle,
                    lane,
                    unpins,
                    then,
                };
                self.tracking.running.insert(seq, running);
            }
        }
        let load = Load {
            queued: self.tracking.queue.len(),
            pressing: self.tracking.queue.pressing(),
            running: self.tracking.running.len(),
        };
        self.load
            .send_if_modified(|old| std::mem::replace(old, load) != load);
    }

    /// When to look again by itself; always in the future.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let due = if now < self.hold_until {
            (self.tracking.queue.len() > 0).then_some(self.hold_until)
        } else {
            self.tracking.next_due()
        };
        let pause = (now < self.state_pause).then_some(self.state_pause);
        let next = due.into_iter().chain(pause).min();
        next.unwrap_or(now + FAR)
    }

    async fn finished(&mut self, done: Result<(Id, Worked), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let mut running = self.tracking.running.iter();
        let Some(seq) = running.find(|(_, r)| r.handle.id() == id).map(|(s, _)| *s) else {
            return;
        };
        let Some(running) = self.tracking.running.remove(&seq) else {
            return;
        };
        if let Some(walk) = &mut self.walk {
            walk.touched.insert(seq.0);
        }
        match (running.then, done) {
            (Then::Settle, Ok((_, worked))) => {
                self.node_answers(&worked);
                let alive = matches!(worked, Worked::Held);
                if !worked.node_is_away() {
                    self.tracking.queue.learn(running.lane, alive);
                }
                if matches!(worked, Worked::Nothing) {
                    self.look_again(seq).await;
                } else {
                    self.tracking.settle(seq, worked);
                }
            }
            (Then::Settle, Err(e)) => self.tracking.broken(seq, &e),
            (Then::Again, _) => self.tracking.begin_again(seq),
            (Then::Drop, _) => self.tracking.parts.tables.clear(seq),
        }
        let queue = &self.tracking.queue;
        let room = queue.len() <= self.tracking.parts.settings.queue_max / 2;
        if self.tracking.overflowed && room && self.walk.is_none() {
            self.tracking.overflowed = false;
            self.begin_walk(false);
        }
    }

    /// Backs off from an IPFS node that does not answer, and comes back when it does.
    fn node_answers(&mut self, worked: &Worked) {
        if worked.node_is_away() {
            if Instant::now() >= self.hold_until {
                self.hold = (self.hold * 2).clamp(Duration::from_secs(1), NODE_PAUSE_MAX);
                self.hold_until = Instant::now() + self.hold;
            }
        } else {
            self.hold = Duration::ZERO;
        }
    }

    /// The job found nothing to do: what was wanted has changed meanwhile.
    async fn look_again(&mut self, seq: Seq) {
        self.tracking.goals.remove(&seq);
        self.tracking.failures.remove(&seq);
        if let Some(no) = self.tracking.number {
            let seqs = [seq.0].into_iter().collect();
            if let Err(e) = self.tracking.look_at(no, &seqs).await {
                self.unreadable(&e);
            }
        }
    }

    async fn follow(&mut self, changed: Changed) {
        let parts = &self.tracking.parts;
        self.seen = self.seen.max(changed.up_to);
        match own_number(&parts.state, &parts.me).await {
            Ok(Some(no)) => self.take_in(no, &changed).await,
            Ok(None) => self.tracking.number = None,
            Err(e) => self.unreadable(&e),
        }
    }

    async fn take_in(&mut self, no: MemberNo, changed: &Changed) {
        let new = self.tracking.number != Some(no);
        self.tracking.number = Some(no);
        if changed.all || new {
            self.begin_walk(true);
            return;
        }
        if let Err(e) = self.tracking.look_at(no, &changed.seqs).await {
            self.unreadable(&e);
            return;
        }
        match &mut self.walk {
            Some(walk) => {
                walk.touched |= &changed.seqs;
                if !walk.full {
                    self.tracking.advance(self.seen);
                }
            }
            None => self.tracking.advance(self.seen),
        }
    }

    /// After a pause everything is compared: what had changed is not known any more.
    fn unreadable(&mut self, e: &ReadError) {
        tracing::warn!(error = %e, "the tracker cannot read the state");
        self.state_pause = Instant::now() + STATE_PAUSE;
        self.begin_walk(true);
    }

    /// Compares everything: what was lost behind our back, and what was not seen.
    fn begin_walk(&mut self, full: bool) {
        if self.walk.is_some() && !full {
            return;
        }
        self.walk = Some(Walk::new(full));
        #[cfg(feature = "mutations")]
        tokio::spawn(super::planted::unpin_unknown(self.tracking.parts.clone()));
        self.listing.abort_all();
        self.listing = JoinSet::new();
        self.listing
            .spawn(held::list(self.tracking.parts.ipfs.clone()));
    }

    fn listed(&mut self, listed: Result<Option<Held>, JoinError>) {
        if let Some(walk) = &mut self.walk {
            walk.held = Some(listed.unwrap_or_default());
        }
    }

    fn can_walk(&self) -> bool {
        let listed = self.walk.as_ref().is_some_and(|walk| walk.held.is_some());
        listed && Instant::now() >= self.state_pause
    }

    async fn step(&mut self) {
        let Some(mut walk) = self.walk.take() else {
            return;
        };
        let Some(no) = self.tracking.number else {
            // It begins again once this peer has a number.
            return;
        };
        // An event may just have begun a new one, whose listing is under way.
        if walk.held.is_none() {
            self.walk = Some(walk);
            return;
        }
        if let Err(e) = walk.step(&mut self.tracking, no).await {
            self.unreadable(&e);
        } else if !walk.is_over() {
            self.walk = Some(walk);
        } else if walk.full {
            self.tracking.advance(self.seen);
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Recover(cid, reply) => {
                let found = self.tracking.failed_seq(cid).await;
                if let Some((seq, phase)) = found {
                    self.tracking.recover(seq, phase);
                }
                let _ = reply.send(found.is_some());
            }
            Order::RecoverAll(reply) => {
                let failed = self.tracking.all_failed().await;
                for (seq, phase, _) in &failed {
                    self.tracking.recover(*seq, *phase);
                }
                let _ = reply.send(failed.into_iter().map(|(_, _, cid)| cid).collect());
            }
        }
        // What was held back for the node's sake is tried now.
        self.hold_until = Instant::now();
    }
}

/// The next changes, once the state can be read. Cancel-safe.
async fn news(changes: &Changes, seen: Rev, not_before: Instant) -> Changed {
    sleep_until(not_before).await;
    changes.next(seen).await
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
