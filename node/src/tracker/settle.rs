//! What a job that has ended means for its pin.

use ipfs_cluster_protocol::{id::Seq, pin::PinPhase, status::Detail};
use rand::Rng;
use tokio::task::JoinError;

use super::{
    queue::Kind,
    tracking::{Goal, Tracking},
    work::Worked,
};
use crate::cluster::wall_clock;

/// A report is made again after as long as after so many failures.
const REPORT_AGAIN: u32 = 4;

impl Tracking {
    /// Into the table, and back into the queue if something is left to do.
    pub(super) fn settle(&mut self, seq: Seq, worked: Worked) {
        match worked {
            Worked::Held => {
                self.failures.remove(&seq);
                self.goals.remove(&seq);
                self.parts.tables.set(seq, PinPhase::Pinned, None);
            }
            // It ends when the report is applied; should it get lost, it is made again.
            Worked::Reported => {
                self.failures.remove(&seq);
                self.delay(seq, REPORT_AGAIN);
            }
            Worked::Nothing => {}
            Worked::Failed {
                phase,
                error,
                node_away,
            } => {
                let attempts = self.failures.entry(seq).or_default();
                // An IPFS node that is down says nothing about the pin.
                let more = u32::from(!node_away);
                *attempts = attempts.saturating_add(more).max(1);
                let attempts = *attempts;
                let detail = Detail {
                    error,
                    attempts,
                    at: wall_clock(),
                };
                self.parts.tables.set(seq, phase, Some(detail.bounded()));
                self.delay(seq, attempts);
            }
        }
    }

    fn delay(&mut self, seq: Seq, attempts: u32) {
        let (kind, now) = (self.kind_by_goal(seq), self.now_ms());
        let jitter = rand::rng().random();
        self.queue.retry(seq, kind, attempts, now, jitter);
    }

    /// A job panicked.
    pub(super) fn broken(&mut self, seq: Seq, e: &JoinError) {
        tracing::error!(%seq, error = %e, "a pin job broke");
        let phase = match self.goals.get(&seq) {
            Some(Goal::Unpin) => PinPhase::UnpinError,
            Some(Goal::Pin(_)) | None => PinPhase::PinError,
        };
        let worked = Worked::Failed {
            phase,
            error: format!("internal error: {e}"),
            node_away: false,
        };
        self.settle(seq, worked);
    }

    /// Its last job was overtaken by what is wanted now.
    pub(super) fn begin_again(&mut self, seq: Seq) {
        let (kind, phase) = match self.kind_by_goal(seq) {
            Kind::Unpin => (Kind::Unpin, PinPhase::UnpinQueued),
            kind => (kind, PinPhase::PinQueued),
        };
        // The job may have shown its own phase after it was overtaken.
        self.show(seq, phase);
        self.push(seq, kind);
    }

    fn kind_by_goal(&self, seq: Seq) -> Kind {
        match self.goals.get(&seq) {
            Some(Goal::Unpin) => Kind::Unpin,
            Some(Goal::Pin(_)) | None => Kind::New,
        }
    }
}
