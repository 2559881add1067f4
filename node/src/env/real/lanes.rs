//! Lanes: a thread each, fed by a bounded queue.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the real side of the lanes door"
)]

use std::{
    future::Future as _,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_protocol::limits::LANE_JOBS_MAX;
use tokio::{
    sync::{
        mpsc::{self, OwnedPermit, error::TrySendError},
        oneshot,
    },
    task::coop::unconstrained,
};

use crate::env::{Job, Lane, LaneDoor, Lanes};

/// Starts threads.
#[derive(Debug)]
pub(super) struct Threads;

impl Lanes for Threads {
    fn lane(&self, name: &str) -> Lane {
        Lane::new(Arc::new(Queue::start(name, LANE_JOBS_MAX)))
    }
}

/// A job and where to say that it has run; when either is dropped, the submitter wakes.
type Entry = (Job, oneshot::Sender<()>);

struct Queue(mpsc::Sender<Entry>);

impl Queue {
    fn start(name: &str, jobs_max: usize) -> Self {
        let (tx, rx) = mpsc::channel(jobs_max);
        // The thread ends when the last handle is dropped and what was queued has run.
        let started = thread::Builder::new()
            .name(format!("lane-{name}"))
            .spawn(move || work(rx));
        if let Err(error) = started {
            // The receiver is gone with the closure: every job now reports a closed lane.
            tracing::error!(lane = name, %error, "cannot start a thread");
        }
        Self(tx)
    }
}

fn work(mut queue: mpsc::Receiver<Entry>) {
    while let Some((job, done)) = queue.blocking_recv() {
        // A panic ends the thread and so closes the lane: what it worked on may be half changed.
        job();
        let _ = done.send(());
    }
}

impl LaneDoor for Queue {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        let (done, ran) = oneshot::channel();
        let entry = match self.0.try_send((job, done)) {
            Ok(()) => return ran.map(|_| ()).boxed(),
            Err(TrySendError::Closed(_)) => return futures::future::ready(()).boxed(),
            Err(TrySendError::Full(entry)) => entry,
        };
        // Full: polled once here, the request for room stands in the channel's queue of waiters,
        // so that a later call cannot overtake this one.
        let mut room = Box::pin(unconstrained(self.0.clone().reserve_owned()));
        match room.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => {
                send(permit, entry);
                ran.map(|_| ()).boxed()
            }
            Poll::Pending => async move {
                send(room.await, entry);
                let _ = ran.await;
            }
            .boxed(),
        }
    }
}

fn send(permit: Result<OwnedPermit<Entry>, mpsc::error::SendError<()>>, entry: Entry) {
    if let Ok(permit) = permit {
        permit.send(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::env::LaneClosed;

    #[tokio::test]
    async fn jobs_run_in_the_order_of_the_calls_also_when_the_queue_is_full() {
        let lane = Lane::new(Arc::new(Queue::start("test", 4)));
        let order = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Mutex::new(()));
        let shut = gate.lock().unwrap();
        let calls: Vec<_> = (0..50)
            .map(|n| {
                let (order, gate) = (order.clone(), gate.clone());
                lane.run(move || {
                    let _passed = gate.lock().unwrap();
                    order.lock().unwrap().push(n);
                    n
                })
            })
            .collect();
        drop(shut);
        // Polled last to first: the place was taken at the call.
        let mut results = futures::future::join_all(calls.into_iter().rev()).await;
        results.reverse();
        assert_eq!(results, (0..50).map(Ok).collect::<Vec<_>>());
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_job_runs_although_nobody_waits_for_it() {
        let lane = Threads.lane("test");
        let (tx, rx) = oneshot::channel();
        drop(lane.run(move || tx.send(7)));
        assert_eq!(rx.await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_closes_the_lane() {
        let lane = Threads.lane("test");
        let first = lane.run(|| panic!("planted"));
        assert_eq!(first.await, Err::<(), _>(LaneClosed));
        assert_eq!(lane.run(|| 1).await, Err(LaneClosed));
    }
}
