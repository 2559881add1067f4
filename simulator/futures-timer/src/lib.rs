//! `futures-timer` on tokio's clock, in place of the crate of that name: libp2p's timers then obey
//! paused time, and no helper thread exists.
//!
//! Only the part of its interface that the workspace's dependencies use. The version must be the one
//! they ask for, or Cargo would quietly keep both; a test of the simulator watches over that.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::coop::{Unconstrained, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

/// Farther away than any program runs; tokio takes no instant at the end of time.
const FAR_AWAY: Duration = Duration::from_secs(86_400 * 365 * 30);

/// A future that is ready once a time has passed.
pub struct Delay {
    deadline: Instant,
    /// Made at the first poll, since a delay may be made outside a runtime. Unconstrained, because
    /// tokio lets a sleep report "pending" when its task has run for long, and libp2p's connections
    /// then take the same event twice.
    sleep: Option<Unconstrained<Pin<Box<Sleep>>>>,
}

fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + FAR_AWAY)
}

impl Delay {
    /// Ready after `time`, counted from now.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self {
            deadline: after(time),
            sleep: None,
        }
    }

    /// Starts over: ready after `time`, counted from now.
    pub fn reset(&mut self, time: Duration) {
        self.deadline = after(time);
        self.sleep = None;
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let sleep = self
            .sleep
            .get_or_insert_with(|| unconstrained(Box::pin(sleep_until(deadline))));
        Pin::new(sleep).poll(cx)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn paused_time_governs_it() {
        let start = Instant::now();
        let mut delay = Delay::new(Duration::from_secs(3600));
        delay.reset(Duration::from_secs(7200));
        delay.await;
        assert_eq!(start.elapsed().as_secs(), 7200);
    }

    #[test]
    fn it_may_be_made_outside_a_runtime_and_for_ever() {
        let mut delay = Delay::new(Duration::MAX);
        delay.reset(Duration::MAX);
        assert!(delay.deadline > Instant::now());
    }
}
