//! Decides writes while this peer leads: everything uncertain (placement, time, who is alive) is
//! settled here, before the log; `apply` checks it again.

pub(crate) mod expiry;
mod level;
mod members;
mod pins;
mod requests;
mod shards;
mod view;

use std::sync::Arc;

use ipfs_cluster_protocol::{
    command::{Command, Envelope, LEVEL_SIZES, Outcome, Rejection, Session},
    id::{LogIndex, Rev, Seq},
    rpc::{Done, Op, Refusal},
    state::{StateRead, StoreError},
};
use tokio::time::Instant;
use tracing::Instrument;

use super::Settings;
use crate::{
    consensus::{Committed, Consensus, ProposeError, Role},
    ipfs::{SharedIpfs, holds::holds},
    monitor::Monitor,
    net::Net,
    spans,
    stage::{Spent, Stage},
};

/// Decides and proposes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Leader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    consensus: Consensus,
    monitor: Monitor,
    ipfs: SharedIpfs,
    settings: Arc<Settings>,
    net: Net,
    reservations: view::Reservations,
    last_view: view::LastView,
    /// Placing pins.
    deciding: Stage,
}

/// A command that was applied.
pub(crate) struct Landed {
    pub(crate) index: LogIndex,
    pub(crate) rev: Rev,
    pub(crate) at: ipfs_cluster_protocol::time::Timestamp,
}

/// Why a command was not applied.
pub(crate) enum Miss {
    /// Decide again.
    Conflict,
    /// Tell the client.
    Refused(Refusal),
}

impl Leader {
    pub(crate) fn new(
        consensus: Consensus,
        monitor: Monitor,
        ipfs: SharedIpfs,
        settings: Arc<Settings>,
        net: Net,
    ) -> Self {
        let reservations = view::Reservations::default();
        Self(Arc::new(Inner {
            consensus,
            monitor,
            ipfs,
            settings,
            net,
            reservations,
            last_view: view::LastView::default(),
            deciding: Stage::default(),
        }))
    }

    /// Time spent in deciding where pins go.
    pub(crate) fn spent(&self) -> Spent {
        self.0.deciding.spent()
    }

    /// Decides one write and brings it into the log.
    pub(crate) async fn execute(
        &self,
        session: Session,
        op: Op,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        match op {
            Op::Pin { spec, preset } => self.pin(session, *spec, preset, deadline).await,
            Op::Update {
                from,
                to,
                name,
                expire_at,
            } => {
                self.update(session, from, to, name, expire_at, deadline)
                    .await
            }
            Op::Unpin { cid } => self.unpin(session, cid, deadline).await,
            Op::Request { id, spec, replaces } => {
                self.request(session, id, *spec, replaces, deadline).await
            }
            Op::Withdraw { id } => {
                let command = Command::Withdraw { id };
                self.plain(session, command, deadline).await
            }
            Op::Gone { as_of, seqs } => {
                let peer = session.origin.clone();
                let command = Command::Gone { peer, as_of, seqs };
                self.plain(session, command, deadline).await
            }
            Op::Sized { sizes } => {
                self.at_level(LEVEL_SIZES, deadline).await?;
                self.plain(session, Command::Sized { sizes }, deadline)
                    .await
            }
            Op::Remove { peer, drain } => self.remove(session, peer, drain, deadline).await,
            Op::Leave => self.let_leave(session, deadline).await,
        }
    }

    /// A command that has no conflict to decide again.
    async fn plain(
        &self,
        session: Session,
        command: Command,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        match self.propose(session, command, deadline).await {
            Ok(landed) => Ok(Done {
                index: landed.index,
                pin: None,
            }),
            Err(Miss::Refused(refusal)) => Err(refusal),
            Err(Miss::Conflict) => Err(Refusal::Unavailable("the state changed meanwhile".into())),
        }
    }

    /// A command of the leader's own: repair, expiry, members found dead.
    pub(crate) async fn propose_own(&self, command: Command) -> Result<Landed, Miss> {
        let ticket = self.0.consensus.sessions().begin();
        let deadline = Instant::now() + self.0.settings.write_timeout;
        self.propose(ticket.session(), command, deadline).await
    }

    /// Proposes and translates the outcome.
    async fn propose(
        &self,
        session: Session,
        command: Command,
        deadline: Instant,
    ) -> Result<Landed, Miss> {
        let envelope = Envelope { session, command };
        // From the proposal until it is in a quorum's logs and applied here.
        let span = tracing::info_span!(target: spans::TARGET, "log");
        let proposed = self.0.consensus.propose_until(envelope, deadline);
        match proposed.instrument(span).await {
            Ok(Committed { index, outcome, at }) => match outcome {
                Outcome::Applied { rev } | Outcome::AlreadyAt { rev } => {
                    Ok(Landed { index, rev, at })
                }
                Outcome::Conflict { .. } => Err(Miss::Conflict),
                Outcome::Rejected(rejection) => Err(Miss::Refused(refusal(rejection))),
            },
            Err(ProposeError::NotLeader { leader }) => {
                Err(Miss::Refused(Refusal::NotLeader { leader }))
            }
            Err(e @ ProposeError::Unknown) => Err(Miss::Refused(Refusal::Unknown(e.to_string()))),
            Err(e @ ProposeError::LeftBehind(_)) => {
                Err(Miss::Refused(Refusal::LeftBehind(e.to_string())))
            }
            Err(e) => Err(Miss::Refused(Refusal::Unavailable(e.to_string()))),
        }
    }

    /// Whether this peer leads, has applied all it had before its last stop, and may still write.
    pub(crate) fn leads(&self) -> bool {
        if self.0.consensus.left_behind().is_some() {
            return false;
        }
        let status = self.0.consensus.status();
        let status = status.borrow();
        status.role == Role::Leader && !status.recovering
    }

    /// Whether this peer's IPFS node holds a pin, as of a change of it.
    pub(crate) async fn holds_here(&self, seq: Seq, rev: Rev) -> bool {
        let held = holds(self.0.consensus.state(), &self.0.ipfs, seq, rev).await;
        held.unwrap_or(false)
    }

    /// Reads the leader's own state.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn StateRead) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let state = self.0.consensus.state();
        state
            .read(read)
            .await
            .map_err(|e| Refusal::Unavailable(e.to_string()))
    }
}

fn refusal(rejection: Rejection) -> Refusal {
    match rejection {
        Rejection::NotPinned => Refusal::NotPinned,
        other => Refusal::Invalid(other.to_string()),
    }
}
