//! Removes pins whose time is over, while this peer leads.

use std::time::Duration;

use ipfs_cluster_protocol::{
    command::Command,
    health::CLOCK_OFFSET_MAX_MS,
    limits,
    mutation::{Mutation, planted},
    state::query,
};

use super::{Leader, Miss};
use crate::{cluster::wall_clock, worker::Stop};

/// Looks in a row with pins due and no certain time, after which it is said: a leader that has just
/// started has not heard of the others' clocks yet.
const DOUBTED_TOLD: u32 = 10;

/// Looks every `interval`, until the peer stops.
pub(crate) async fn run(leader: Leader, interval: Duration, mut stop: Stop) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut doubted = 0;
    loop {
        let look = async {
            ticks.tick().await;
            leader.sweep(&mut doubted).await;
        };
        // A sweep that waits for a quorum must not hold up a stop.
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = look => {}
        }
    }
}

impl Leader {
    /// `doubted`: how many times in a row pins were due, and the time was not sure.
    async fn sweep(&self, doubted: &mut u32) {
        let monitor = &self.0.monitor;
        self.0.consensus.hold_log_time(monitor.clock_is_off());
        if !self.leads() {
            return;
        }
        let now = wall_clock();
        loop {
            let due = self.read(move |state| query::expired(state, now, limits::LIST_PAGE_PINS));
            let Ok(due) = due.await else { return };
            if due.is_empty() {
                return;
            }
            if !monitor.clock_is_confirmed() && !planted(Mutation::ExpiryByWrongClock) {
                *doubted = doubted.saturating_add(1);
                if *doubted == DOUBTED_TOLD {
                    tracing::warn!(
                        pins = due.len(),
                        "pins whose time is over stay: the clocks of at most half of the members are \
                         within {} s of this peer's; set the clocks (NTP), or start who is down",
                        CLOCK_OFFSET_MAX_MS / 1_000
                    );
                }
                return;
            }
            *doubted = 0;
            let mut removed = 0;
            for (seq, if_rev) in due {
                match self.propose_own(Command::Expire { seq, if_rev }).await {
                    Ok(_) => removed += 1,
                    // Changed meanwhile: the next look decides again.
                    Err(Miss::Conflict) => {}
                    Err(Miss::Refused(refusal)) => {
                        tracing::debug!(%seq, %refusal, "expired pin not removed");
                    }
                }
            }
            tracing::info!(removed, "removed expired pins");
            if removed == 0 {
                return;
            }
        }
    }
}
