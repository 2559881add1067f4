//! From two files to a running member.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use ipfs_cluster_protocol::{id::Incarnation, state::System};
use openraft::EmptyNode;
use tokio::{
    sync::{Mutex, Notify},
    task::JoinSet,
};

use super::{
    compaction,
    core::Core,
    fence,
    handle::Consensus,
    membership,
    proposer::Proposer,
    roster, standing,
    state_machine::StateMachine,
    status,
    transport::Factory,
    types::{Raft, RaftId},
};
use crate::storage::{Identity, OpenError};

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
        let config = Arc::new(inner.status.borrow().profile.raft().map_err(not_started)?);
        let begun = inner.agreement.begin(&inner.state).await;
        begun.map_err(not_started)?;
        let agreement = inner.agreement.clone();
        let machine = StateMachine::new(inner.state.clone(), inner.roster.clone(), agreement);
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
            heard: inner.heard.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(status::follow(
            raft.clone(),
            inner.status.clone(),
            inner.broken.clone(),
        ));
        tasks.spawn(status::recover(raft, inner.status.clone()));
        tasks.spawn(membership::lead(core.clone()));
        let news = inner.links.heard_epoch();
        tasks.spawn(fence::follow(core.clone(), inner.log.clone(), news));
        tasks.spawn(standing::watch(core.clone()));
        tasks.spawn(roster::follow(core.clone(), inner.roster.subscribe()));
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
