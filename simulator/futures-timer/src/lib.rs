//! `futures-timer` on tokio's timer wheel: so `start_paused` / virtual time governs libp2p too,
//! and no helper thread exists. The sleep is created lazily (first poll), so `Delay::new`
//! may be called outside a runtime as with the original crate.
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

pub struct Delay {
    deadline: Instant,
    /// `unconstrained`: tokio's cooperative budget makes a Sleep return Pending + self-wake when the
    /// task ran long; libp2p-swarm's Connection::poll then panics ("cannot extract twice").
    sleep: Option<Unconstrained<Pin<Box<Sleep>>>>,
}

fn at(dur: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(dur)
        .unwrap_or_else(|| now + Duration::from_secs(86_400 * 365 * 30))
}

impl Delay {
    pub fn new(dur: Duration) -> Delay {
        Delay {
            deadline: at(dur),
            sleep: None,
        }
    }
    pub fn reset(&mut self, dur: Duration) {
        self.deadline = at(dur);
        if let Some(s) = self.sleep.take() {
            drop(s);
        }
    }
}

impl Future for Delay {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.sleep
            .get_or_insert_with(|| unconstrained(Box::pin(sleep_until(deadline))));
        Pin::new(self.sleep.as_mut().unwrap()).poll(cx)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay")
            .field("deadline", &self.deadline)
            .finish()
    }
}
