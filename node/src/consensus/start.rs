//! From two files to a running member.

use ipfs_cluster_protocol::limits;
use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    time::{SystemTime, UNIX_EPOCH},
};

use ipfs_cluster_protocol::{
    codec,
    id::{Boot, Incarnation, PeerId},
    state::System,
};
use openraft::EmptyNode;
use tokio::{
    sync::{Mutex, Notify, watch},
    task::JoinSet,
};

use super::{
    compaction,
    core::Core,
    handle::{Consensus, ConsensusConfig},
    log_store::LogStore,
    membership,
    proposer::Proposer,
    roster,
    session::Sessions,
    state_machine::StateMachine,
    status,
    transport::Factory,
    types::{Raft, RaftId},
    wire,
};
use crate::{
    env::Env,
    storage::{DataFolder, Identity, OpenError, RaftLog, Slot, StateStore, StateTuning},
};

/// What was found on disk.
pub(super) struct Opened {
    pub(super) folder: DataFolder,
    pub(super) log: RaftLog,
    pub(super) log_store: LogStore,
    pub(super) state: StateStore,
    pub(super) sessions: Sessions,
    pub(super) identity: Option<Identity>,
}

/// Opens the data folder and both files, and checks that they belong together.
pub(super) async fn open_files(
    config: &ConsensusConfig,
    env: &Env,
    local: &PeerId,
) -> Result<Opened, OpenError> {
    let folder = DataFolder::open(env, &config.config_dir).await?;
    let (log_path, state_path) = (folder.file("raft.redb"), folder.file("state.redb"));
    let (log, recovered) = RaftLog::open(env, log_path.clone()).await?;
    let state = StateStore::open(env, state_path.clone(), StateTuning::default()).await?;
    let damaged = |what: String| OpenError::damaged(&log_path, &what);
    let identity = recovered
        .identity
        .as_deref()
        .map(|bytes| codec::decode::<Identity>(bytes, limits::START_IDENTITY_BYTES_MAX))
        .transpose()
        .map_err(|e| damaged(format!("who this peer is: {e}")))?;
    let purged = recovered
        .purged
        .as_deref()
        .map(wire::decode_pos)
        .transpose();
    let purged = purged.map_err(|e| damaged(format!("the purged id: {e}")))?;
    let held = state.position().log.map(|l| l.index);
    if let Some(purged) = purged
        && held < Some(purged.index)
    {
        let held = held.map_or("nothing".to_owned(), |h| format!("entries up to {h}"));
        let what = format!("it holds {held}, and the log begins after {}", purged.index);
        return Err(OpenError::damaged(&state_path, &what));
    }
    let boot = next_boot(recovered.boot.as_deref());
    let stored = log
        .set(Slot::Boot, boot.0.to_be_bytes().to_vec().into())
        .await;
    stored.map_err(OpenError::io(&log_path))?;
    let log_store = LogStore::new(log.clone(), &recovered).map_err(OpenError::io(&log_path))?;
    Ok(Opened {
        folder,
        log,
        log_store,
        state,
        sessions: Sessions::new(local.clone(), boot),
        identity,
    })
}

/// Higher than every former start. The clock makes it so even when the log was lost.
fn next_boot(stored: Option<&[u8]>) -> Boot {
    let former = stored
        .and_then(|b| <[u8; 8]>::try_from(b).ok())
        .map_or(0, u64::from_be_bytes);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
    Boot(now.max(former.saturating_add(1)))
}

fn not_started(e: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(e)
}

impl Consensus {
    /// The epoch may have been raised since the identity was written down.
    pub(super) async fn recovered_epoch(&self, identity: Identity) -> Result<Identity, OpenError> {
        let path = self.0.folder.path();
        let system = self.0.state.read(|state| System::load(state)).await;
        let system = system.map_err(|e| OpenError::io(path)(io::Error::other(e)))?;
        if let Some(found) = system.cluster.filter(|c| *c != identity.cluster) {
            return Err(OpenError::OtherCluster {
                path: path.to_path_buf(),
                found,
                expected: identity.cluster,
            });
        }
        Ok(Identity {
            epoch: identity.epoch.max(system.epoch),
            ..identity
        })
    }

    /// Starts openraft and the tasks around it.
    pub(super) async fn run(&self, identity: Identity) -> Result<(), OpenError> {
        let started = Box::pin(self.start_raft(identity)).await;
        started.map_err(OpenError::io(self.0.folder.path()))
    }

    async fn start_raft(&self, identity: Identity) -> io::Result<()> {
        let inner = &self.0;
        inner.identity.send_replace(Some(identity));
        inner.links.introduce(identity);
        let own = RaftId::new(inner.links.local(), identity.incarnation);
        let factory = Factory {
            links: inner.links.clone(),
            own: identity.incarnation,
        };
        let changed = watch::Sender::new(0);
        let config = Arc::new(inner.status.borrow().profile.raft().map_err(not_started)?);
        let machine = StateMachine::new(inner.state.clone(), changed.clone());
        let store = inner.log_store.clone();
        let raft = Raft::new(own.clone(), config, factory.clone(), store, machine).await;
        let raft = raft.map_err(not_started)?;
        let initialized = raft.is_initialized().await.map_err(not_started)?;
        if identity.incarnation == Incarnation(1) && !initialized {
            let first = [(own.clone(), EmptyNode::new())];
            let first = std::collections::BTreeMap::from(first);
            raft.initialize(first).await.map_err(not_started)?;
        }
        let applied = inner.state.applied();
        let core = Arc::new(Core {
            proposer: Proposer::start(raft.clone(), applied, inner.hold_time.clone()),
            raft: raft.clone(),
            own,
            identity: inner.identity.clone(),
            members: inner.members.clone(),
            factory,
            state: inner.state.clone(),
            sessions: inner.sessions.clone(),
            links: inner.links.clone(),
            status: inner.status.clone(),
            name: inner.config.name.clone(),
            change: Mutex::new(()),
            nudge: Notify::new(),
            leaving: AtomicBool::new(false),
            spread_at: parking_lot::Mutex::new(None),
            led_since: parking_lot::Mutex::new(None),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(status::follow(raft.clone(), inner.status.clone()));
        tasks.spawn(status::recover(raft, inner.status.clone()));
        tasks.spawn(membership::lead(core.clone()));
        tasks.spawn(roster::follow(core.clone(), changed.subscribe()));
        tasks.spawn(compaction::run(
            core.clone(),
            inner.log.clone(),
            inner.config.log_bytes_min,
        ));
        *inner.tasks.lock() = tasks;
        inner.core.send_replace(Some(core));
        Ok(())
    }
}
