//! What clients asked and what they were told: the evidence the oracle judges.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipfs_cluster_protocol::id::{LogIndex, Rev};

use crate::world::{HostId, Micros};

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Pin it.
    Pin,
    /// Unpin it.
    Unpin,
    /// Is it pinned? (linearizable)
    Read,
}

/// What a client is told. A request without an answer may have been done, and may yet be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged, as this command of the log.
    Done {
        /// The entry.
        index: LogIndex,
        /// The command.
        rev: Rev,
    },
    /// There was nothing to unpin, as of this entry.
    NotPinned,
    /// Nothing was done.
    Refused,
    /// The pin's last change, and how far the state had come.
    Seen {
        /// None when it is not pinned.
        pin: Option<Rev>,
        /// The state's last command.
        state: Rev,
    },
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// At which peer.
    pub peer: HostId,
    /// Of which CID (number).
    pub cid: u64,
    /// What.
    pub ask: Ask,
    /// When it was sent.
    pub from: Micros,
    /// The answer and when it came.
    pub answer: Option<(Micros, Answer)>,
}

/// All requests of a run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Vec<Request>>>);

impl History {
    /// The requests, in the order in which they were sent.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; returns its number.
    #[must_use]
    pub fn begin(&self, request: Request) -> usize {
        let mut all = self.lock();
        all.push(request);
        all.len() - 1
    }

    /// Adds the answer.
    pub fn end(&self, number: usize, at: Micros, answer: Answer) {
        if let Some(request) = self.lock().get_mut(number) {
            request.answer = Some((at, answer));
        }
    }
}
