//! Removes pins whose time is over, while this peer leads.

use std::time::Duration;

use ipfs_cluster_protocol::{
    command::Command,
    limits,
    mutation::{Mutation, planted},
    state::query,
};

use super::{Leader, Miss};
use crate::{cluster::wall_clock, worker::Stop};

/// Looks every `interval`, until the peer stops.
pub(crate) async fn run(leader: Leader, interval: Duration, mut stop: Stop) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let look = async {
            ticks.tick().await;
            leader.sweep().await;
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
    async fn sweep(&self) {
        let monitor = &self.0.monitor;
        self.0.consensus.hold_log_time(monitor.clock_is_off());
        if !self.leads() {
            return;
        }
        if !monitor.clock_is_confirmed() && !planted(Mutation::ExpiryByWrongClock) {
            return;
        }
        let now = wall_clock();
        loop {
            let due = self.read(move |state| query::expired(state, now, limits::LIST_PAGE_PINS));
            let Ok(due) = due.await else { return };
            if due.is_empty() {
                return;
            }
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
