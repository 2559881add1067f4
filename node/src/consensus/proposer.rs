//! Group commit: what waits becomes one log entry.
//!
//! A command alone goes at once. While entries are under way the next one fills, for a moment at
//! most, so under load an entry carries what arrived during the sync of the one before it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use ipfs_cluster_protocol::{
    codec,
    command::{Entry, Envelope, Outcome},
    id::{LogIndex, PeerId},
    limits,
    mutation::{Mutation, planted},
    time::Timestamp,
};
use openraft::{
    Instant as _,
    async_runtime::WatchReceiver,
    error::ClientWriteError,
    impls::ProgressResponder,
    raft::{ClientWriteResponse, ClientWriteResult},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    fence::LeftBehind,
    types::{EntryBytes, Raft, TypeConfig},
};
use crate::storage::Applied;

/// How long an entry fills while others are under way.
const FILL: Duration = Duration::from_millis(1);
/// Encoded bytes of an entry beside its commands.
const ENTRY_OVERHEAD: usize = 64;
/// A leader that no quorum has answered for so many of the longest election time-outs takes no
/// more writes: it could only say that their outcome is unknown, and another may lead by now.
const FORSAKEN_AFTER: u32 = 2;

/// A command that is in the log of a quorum and was applied here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The entry it is in.
    pub index: LogIndex,
    /// What became of it.
    pub outcome: Outcome,
    /// The entry's time.
    pub at: Timestamp,
}

/// Why a command was not committed, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was done: ask the leader.
    #[error("this peer does not lead the cluster")]
    NotLeader {
        /// Who does, if that is known.
        leader: Option<PeerId>,
    },
    /// It was submitted; whether it is done or will be is not known.
    #[error("the outcome is unknown: it may or may not be done")]
    Unknown,
    /// Nothing was done: too much waits.
    #[error("too many changes wait to be committed")]
    Busy,
    /// Nothing was done: it does not fit into a log entry.
    #[error("the change has {len} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its encoded bytes.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// Nothing was done: the peer does not run (yet, or any more).
    #[error("this peer takes no part in the consensus now")]
    Stopped,
    /// Nothing was done, and never will be by this peer as it is.
    #[error(transparent)]
    LeftBehind(#[from] LeftBehind),
}

type Answer = Result<Committed, ProposeError>;

struct Waiting {
    envelope: Envelope,
    len: usize,
    reply: oneshot::Sender<Answer>,
}

/// Takes commands and makes entries of them.
#[derive(Debug)]
pub(super) struct Proposer {
    raft: Raft,
    waiting: mpsc::Sender<Waiting>,
    task: JoinHandle<()>,
}

impl Drop for Proposer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proposer {
    /// `hold_time` keeps log time from being pushed ahead by a clock that is known to be wrong.
    pub(super) fn start(
        raft: Raft,
        applied: watch::Receiver<Applied>,
        hold_time: Arc<AtomicBool>,
    ) -> Self {
        let (waiting, queue) = mpsc::channel(limits::PROPOSER_WAITING_MAX);
        let run = Run {
            raft: raft.clone(),
            applied,
            hold_time,
            last_at: Timestamp(0),
            filling: Batch::default(),
            under_way: FuturesUnordered::new(),
        };
        Self {
            raft,
            waiting,
            task: tokio::spawn(run.run(queue)),
        }
    }

    /// Submits a command and waits for its outcome until `deadline`.
    pub(super) async fn propose(&self, envelope: Envelope, deadline: Instant) -> Answer {
        let len = codec::encoded_len(&envelope);
        let max = limits::ENTRY_BYTES_MAX - ENTRY_OVERHEAD;
        if len > max {
            return Err(ProposeError::TooLarge { len, max });
        }
        if self.is_forsaken() {
            return Err(ProposeError::NotLeader { leader: None });
        }
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            envelope,
            len,
            reply,
        };
        self.waiting.try_send(waiting).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
        })?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) if planted(Mutation::UnknownToldAsRefused) => {
                Err(ProposeError::Busy)
            }
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Whether this peer still takes itself for the leader, but hears of no quorum any more.
    fn is_forsaken(&self) -> bool {
        let metrics = self.raft.metrics();
        let seen = metrics.borrow_watched();
        let longest = Duration::from_millis(self.raft.config().election_timeout_max);
        let heard = seen.last_quorum_acked.map(|at| at.elapsed());
        // The rare one first: every write asks.
        heard.is_some_and(|ago| ago > longest * FORSAKEN_AFTER)
            && seen.membership_config.membership().voter_ids().count() > 1
    }
}

/// Commands on their way into one entry.
#[derive(Default)]
struct Batch {
    commands: Vec<Envelope>,
    replies: Vec<oneshot::Sender<Answer>>,
    bytes: usize,
    /// When the first came.
    since: Option<Instant>,
}

impl Batch {
    fn fits(&self, len: usize) -> bool {
        self.commands.len() < limits::ENTRY_COMMANDS_MAX
            && self.bytes + len + ENTRY_OVERHEAD <= limits::ENTRY_BYTES_MAX
    }

    fn push(&mut self, waiting: Waiting) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += waiting.len;
        self.commands.push(waiting.envelope);
        self.replies.push(waiting.reply);
    }
}

type UnderWay = futures::future::BoxFuture<'static, ()>;

struct Run {
    raft: Raft,
    applied: watch::Receiver<Applied>,
    hold_time: Arc<AtomicBool>,
    last_at: Timestamp,
    filling: Batch,
    under_way: FuturesUnordered<UnderWay>,
}

impl Run {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        // One command that did not fit any more.
        let mut over: Option<Waiting> = None;
        loop {
            while let Some(next) = over.take().or_else(|| queue.try_recv().ok()) {
                if !self.filling.fits(next.len) {
                    over = Some(next);
                    break;
                }
                self.filling.push(next);
            }
            if self.is_due(over.is_some()) {
                self.submit().await;
                continue;
            }
            let filled = self.filling.since.map_or_else(Instant::now, |s| s + FILL);
            let may_submit = self.under_way.len() < limits::PROPOSER_IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                Some(()) = self.under_way.next() => {}
                next = queue.recv(), if over.is_none() => match next {
                    Some(next) => over = Some(next),
                    None => return,
                },
                () = sleep_until(filled), if may_submit && self.filling.since.is_some() => {}
            }
        }
    }

    fn is_due(&self, full: bool) -> bool {
        let Some(since) = self.filling.since else {
            return false;
        };
        match self.under_way.len() {
            0 => true,
            n if n < limits::PROPOSER_IN_FLIGHT_MAX => full || since.elapsed() >= FILL,
            _ => false,
        }
    }

    /// The time of the next entry.
    fn time(&mut self) -> Timestamp {
        let reached = if planted(Mutation::LogTimeMayFall) {
            Timestamp(0)
        } else {
            self.last_at.max(self.applied.borrow().at)
        };
        if !self.hold_time.load(Ordering::Relaxed) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
            self.last_at = reached.max(Timestamp(now));
        } else {
            self.last_at = reached;
        }
        self.last_at
    }

    async fn submit(&mut self) {
        let batch = std::mem::take(&mut self.filling);
        let entry = Entry {
            at: self.time(),
            commands: batch.commands,
        };
        let bytes = EntryBytes(Bytes::from(codec::encode(&entry)));
        let (responder, done) = ProgressResponder::<TypeConfig, _>::complete_only();
        if self
            .raft
            .client_write_ff(bytes, Some(responder))
            .await
            .is_err()
        {
            answer_all(batch.replies, &Err(ProposeError::Stopped));
            return;
        }
        let own = self.raft.node_id().peer().clone();
        self.under_way.push(Box::pin(async move {
            // The receiver ends with openraft's core: the entry may be in the log all the same.
            match done.await {
                Ok(result) => answer(batch.replies, result, &own),
                Err(_) => answer_all(batch.replies, &Err(ProposeError::Unknown)),
            }
        }));
    }
}

fn answer_all(replies: Vec<oneshot::Sender<Answer>>, answer: &Answer) {
    for reply in replies {
        // A waiter that gave up was told "unknown".
        let _ = reply.send(answer.clone());
    }
}

/// Tells each waiter what became of its command.
fn answer(
    replies: Vec<oneshot::Sender<Answer>>,
    result: ClientWriteResult<TypeConfig>,
    own: &PeerId,
) {
    let ClientWriteResponse { log_id, data, .. } = match result {
        Ok(response) => response,
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            let leader = forward.leader_id.map(|id| id.peer().clone());
            // Right after an election the leader may not know yet that it still leads.
            let leader = leader.filter(|l| l != own);
            return answer_all(replies, &Err(ProposeError::NotLeader { leader }));
        }
        Err(_) => return answer_all(replies, &Err(ProposeError::Unknown)),
    };
    debug_assert_eq!(replies.len(), data.outcomes.len());
    for (reply, outcome) in replies.into_iter().zip(data.outcomes) {
        let _ = reply.send(Ok(Committed {
            index: LogIndex(log_id.index),
            outcome,
            at: data.at,
        }));
    }
}
