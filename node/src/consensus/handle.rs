//! The handle on the consensus: what the rest of the peer calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::stream::BoxStream;
use ipfs_cluster_protocol::{
    command::{Command, Envelope},
    id::{Epoch, LogIndex, PeerId},
    mutation::{Mutation, planted},
};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    agreement::Agreement,
    config::Profile,
    core::{BarrierError, Core, Members},
    doors,
    fence::LeftBehind,
    files::Files,
    links::{Incoming, Links},
    log_store::LogStore,
    profile,
    proposer::{Committed, ProposeError},
    session::Sessions,
    status::RaftStatus,
};
use crate::{
    env::Env,
    stage::Spent,
    storage::{DataFolder, Identity, OpenError, RaftLog, StateStore},
    worker::told,
};

/// How long a command waits for its outcome when the caller sets no deadline.
const PROPOSE_MAX: Duration = Duration::from_secs(10);
/// What the consensus needs to know of its peer.
#[derive(Debug, Clone)]
pub struct ConsensusConfig {
    /// The configuration folder; the data folder is made in it.
    pub config_dir: std::path::PathBuf,
    /// How far the voters are apart; measured if it is not said.
    pub profile: Option<Profile>,
    /// The peer's name, shown to users.
    pub name: String,
    /// Bytes of log that are always kept; see [`super::LOG_BYTES_MIN`].
    pub log_bytes_min: u64,
}

/// Streams that other peers open.
pub(crate) struct Accepted {
    pub(crate) append: BoxStream<'static, Incoming>,
    pub(crate) ask: BoxStream<'static, Incoming>,
    pub(crate) snapshot: BoxStream<'static, Incoming>,
    pub(crate) join: BoxStream<'static, Incoming>,
}

/// The consensus of this peer. Cheap to clone.
#[derive(Clone)]
pub struct Consensus(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) config: ConsensusConfig,
    pub(super) env: Env,
    pub(super) folder: DataFolder,
    pub(super) log: RaftLog,
    /// The log as openraft sees it, from one run to the next.
    pub(super) log_store: LogStore,
    pub(super) state: StateStore,
    pub(super) links: Arc<dyn Links>,
    pub(super) sessions: Sessions,
    pub(super) status: watch::Sender<RaftStatus>,
    /// Why openraft stopped, when nobody had asked it to.
    pub(super) broken: watch::Sender<Option<String>>,
    pub(super) identity: watch::Sender<Option<Identity>>,
    pub(super) members: watch::Sender<Members>,
    /// Counts what changed the cluster or its members in the state.
    pub(super) roster: watch::Sender<u64>,
    pub(super) hold_time: Arc<AtomicBool>,
    pub(super) agreement: Agreement,
    /// The highest epoch of the cluster that was heard of.
    pub(super) heard: watch::Sender<Epoch>,
    /// One start, one join, one stop at a time.
    pub(super) starting: tokio::sync::Mutex<()>,
    /// The run there is, if there is one.
    pub(super) core: watch::Sender<Option<Arc<Core>>>,
    /// The tasks around it. Dropping them stops them.
    pub(super) tasks: Mutex<JoinSet<()>>,
    /// The streams of other peers are taken here.
    pub(super) doors: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus").finish_non_exhaustive()
    }
}

impl Consensus {
    /// This peer's state.
    #[must_use]
    pub fn state(&self) -> &StateStore {
        &self.0.state
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &DataFolder {
        &self.0.folder
    }

    /// Time spent in writing rows of the log, and in making them durable.
    #[must_use]
    pub fn log_spent(&self) -> (Spent, Spent) {
        self.0.log.spent()
    }

    /// The consensus as this peer sees it, now and later.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.0.status.subscribe()
    }

    /// Waits until the consensus has stopped by itself, and says why: the log or the state could not
    /// be written. This process can promise nothing any more; only a new start knows what is on the
    /// disk.
    pub async fn broken(&self) -> String {
        told(self.0.broken.subscribe()).await
    }

    /// Who this peer is; none before it has formed or joined a cluster.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        *self.0.identity.borrow()
    }

    /// The cluster's epoch; 0 before there is a cluster.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.identity().map_or(Epoch(0), |i| i.epoch)
    }

    /// Whether the cluster goes on without this peer, which then writes nothing any more.
    #[must_use]
    pub fn left_behind(&self) -> Option<LeftBehind> {
        LeftBehind::judge(self.identity(), *self.0.heard.borrow())
    }

    /// Whether this peer's state agrees with the others'.
    #[must_use]
    pub fn agreement(&self) -> &Agreement {
        &self.0.agreement
    }

    /// The members and their present lives, now and later.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<Members> {
        self.0.members.subscribe()
    }

    /// Grows with every change of the members' rows in the state, before the change is answered.
    pub(crate) fn roster_version(&self) -> u64 {
        *self.0.roster.borrow()
    }

    /// Numbers for this peer's commands: all of them must come from here.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Keeps log time from being pushed ahead while this peer's clock is known to be wrong.
    pub fn hold_log_time(&self, hold: bool) {
        self.0.hold_time.store(hold, Ordering::Relaxed);
    }

    pub(super) fn core(&self) -> Option<Arc<Core>> {
        self.0.core.borrow().clone()
    }

    /// Brings a command into the log of a quorum; answers what became of it when it was applied
    /// here. On the leader only.
    pub async fn propose(&self, envelope: Envelope) -> Result<Committed, ProposeError> {
        self.propose_until(envelope, Instant::now() + PROPOSE_MAX)
            .await
    }

    /// The same with a deadline; after it the outcome is unknown.
    pub async fn propose_until(
        &self,
        envelope: Envelope,
        deadline: Instant,
    ) -> Result<Committed, ProposeError> {
        let core = self.core().ok_or(ProposeError::Stopped)?;
        core.propose(envelope, deadline).await
    }

    /// Waits until this peer can read all that was committed before the call; on any peer.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<LogIndex, BarrierError> {
        let core = self.core().ok_or(BarrierError::Stopped)?;
        let index = core.read_index(deadline).await?;
        if planted(Mutation::ReadDoesNotWait) {
            return Ok(index);
        }
        core.wait_applied(index, deadline).await?;
        Ok(index)
    }

    /// Waits until this peer has applied `index`.
    pub async fn wait_applied(
        &self,
        index: LogIndex,
        deadline: Instant,
    ) -> Result<(), BarrierError> {
        let core = self.core().ok_or(BarrierError::Stopped)?;
        core.wait_applied(index, deadline).await
    }

    /// Takes a peer out of the cluster, whatever it holds: the caller has made sure, or decided
    /// not to care. On the leader only. The consensus lets go of it right after.
    pub async fn remove_member(
        &self,
        peer: PeerId,
        deadline: Instant,
    ) -> Result<LogIndex, ProposeError> {
        let core = self.core().ok_or(ProposeError::Stopped)?;
        let ticket = core.sessions.begin();
        let envelope = Envelope {
            session: ticket.session(),
            command: Command::RemoveMember { peer, force: true },
        };
        let committed = core.propose(envelope, deadline).await?;
        core.nudge.notify_one();
        Ok(committed.index)
    }

    /// Opens both files, and starts when this peer is a member of a cluster.
    pub(crate) async fn open_on(
        config: ConsensusConfig,
        env: Env,
        links: Arc<dyn Links>,
        accepted: Accepted,
    ) -> Result<Self, OpenError> {
        let opened = Files::open(&env, &config.config_dir).await?;
        let boot = opened.next_boot().await?;
        let sessions = Sessions::new(links.local(), boot);
        let log_store = LogStore::new(opened.log.clone(), &opened.recovered)
            .map_err(OpenError::io(&opened.folder.file(DataFolder::LOG)))?;
        let status = RaftStatus {
            profile: config.profile.unwrap_or_default(),
            ..RaftStatus::default()
        };
        let core = watch::Sender::new(None);
        let doors = doors::open(accepted, &core.subscribe());
        let members = watch::Sender::<Members>::default();
        let consensus = Self(Arc::new(Inner {
            config,
            folder: opened.folder,
            log: opened.log,
            log_store,
            state: opened.state,
            links,
            sessions,
            status: watch::Sender::new(status),
            broken: watch::Sender::new(None),
            identity: watch::Sender::new(None),
            agreement: Agreement::new(members.subscribe()),
            members,
            roster: watch::Sender::new(0),
            hold_time: Arc::default(),
            heard: watch::Sender::new(opened.heard),
            starting: tokio::sync::Mutex::new(()),
            core,
            tasks: Mutex::default(),
            doors: Mutex::new(doors),
            env,
        }));
        profile::follow(&consensus.0);
        if let Some(identity) = opened.identity {
            let identity = consensus.recovered_epoch(identity).await?;
            consensus
                .0
                .folder
                .set_identity(&consensus.0.env, identity)
                .await?;
            consensus.run(identity).await?;
        }
        Ok(consensus)
    }
}
