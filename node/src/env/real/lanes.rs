//! Lanes: a thread each, fed in the order of the calls.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the real side of the lanes door"
)]

use std::{sync::Arc, thread};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::{mpsc, oneshot};

use crate::env::{Job, Lane, LaneDoor, Lanes};

/// Starts threads.
#[derive(Debug)]
pub(super) struct Threads;

impl Lanes for Threads {
    fn lane(&self, name: &str) -> Lane {
        Lane::new(Arc::new(Queue::start(name)))
    }
}

/// A job and where to say that it has run; when either is dropped, the submitter wakes.
type Entry = (Job, oneshot::Sender<()>);

/// Takes every job at the call, since the place in the order is the call's. It is as long as its
/// callers are many: each waits for its own job.
struct Queue(mpsc::UnboundedSender<Entry>);

impl Queue {
    fn start(name: &str) -> Self {
        let (tx, rx) = mpsc::unbounded_channel();
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

fn work(mut queue: mpsc::UnboundedReceiver<Entry>) {
    while let Some((job, done)) = queue.blocking_recv() {
        // A panic ends the thread and so closes the lane: what it worked on may be half changed.
        job();
        let _ = done.send(());
    }
}

impl LaneDoor for Queue {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        let (done, ran) = oneshot::channel();
        // A closed lane drops the job and with it the sender: the submitter wakes at once.
        let _ = self.0.send((job, done));
        ran.map(|_| ()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::env::LaneClosed;

    #[tokio::test]
    async fn jobs_run_in_the_order_of_the_calls() {
        let lane = Lane::new(Arc::new(Queue::start("test")));
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
