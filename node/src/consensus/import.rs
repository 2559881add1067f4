//! A data folder out of a list of pins: a new cluster, of which this peer is the only one alive.
//!
//! Its state stands at an index of a log that is empty, as it is after a snapshot was installed, so
//! the next start goes on from there, and peers that join get the state as a snapshot.

use std::{collections::BTreeSet, io, path::Path};

use ipfs_cluster_protocol::{
    codec,
    id::{ClusterId, Epoch, Incarnation, PeerId},
    state::{
        System, query,
        restore::{self, RestoreError, RestoredPin},
        tx::{StateTx, StoreError},
    },
    time::Timestamp,
};
use openraft::{EmptyNode, Membership};
use rand::Rng;

use super::{
    types::{RaftId, StoredMembership},
    wire,
};
use crate::{
    env::Env,
    storage::{
        DataFolder, Identity, LogPos, OpenError, Position, RaftLog, ReadError, Slot, StateStore,
        StateTuning,
    },
};

/// Who is in the cluster from the start.
#[derive(Debug, Clone)]
pub struct Founders {
    /// This peer and its name.
    pub own: (PeerId, String),
    /// Others that are known, and will join.
    pub others: Vec<PeerId>,
}

/// Why an import cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A pin or a member is not possible.
    #[error(transparent)]
    Refused(#[from] RestoreError),
    /// The new folder cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new state cannot be written.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The new log cannot be written.
    #[error("writing the log: {0}")]
    Log(#[from] io::Error),
}

/// A data folder being filled.
#[derive(Debug)]
pub struct Import {
    env: Env,
    folder: DataFolder,
    state: StateStore,
    identity: Identity,
    membership: Vec<u8>,
}

/// What was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Pins in the new state.
    pub pins: u64,
    /// Members, this peer among them.
    pub members: usize,
}

impl Import {
    /// Makes a data folder in `config_dir`, which must not have one.
    pub async fn begin(
        env: &Env,
        config_dir: &Path,
        founders: Founders,
    ) -> Result<Self, ImportError> {
        let folder = DataFolder::open(env, config_dir).await?;
        let path = folder.file("state.redb");
        let state = StateStore::open(env, path, StateTuning::default()).await?;
        let identity = Identity {
            cluster: ClusterId(rand::rng().random()),
            epoch: Epoch(1),
            incarnation: Incarnation(1),
        };
        let own = RaftId::new(founders.own.0.clone(), identity.incarnation);
        let import = Self {
            env: env.clone(),
            folder,
            state,
            identity,
            membership: sole_voter(own)?,
        };
        let others = founders.others.into_iter();
        let others = others
            .filter(|p| *p != founders.own.0)
            .collect::<BTreeSet<_>>();
        let mut members = vec![founders.own];
        members.extend(others.into_iter().map(|peer| (peer, String::new())));
        let cluster = identity.cluster;
        import
            .step(move |tx| restore::found(tx, cluster, &members))
            .await?;
        Ok(import)
    }

    /// Adds pins. After an error the folder is of no use.
    pub async fn add(&self, pins: Vec<RestoredPin>, now: Timestamp) -> Result<(), ImportError> {
        let added = self.step(move |tx| restore::pins(tx, &pins, now));
        added.await.map(drop)
    }

    /// One change of the state, and where it leads.
    async fn step<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut dyn StateTx) -> Result<Result<T, RestoreError>, StoreError>
        + Send
        + 'static,
    ) -> Result<T, ImportError> {
        let membership = self.membership.clone();
        let changed = self.state.apply(move |job| {
            job.step(|tx, position| {
                let changed = change(tx)?;
                *position = position_of(&System::load(tx)?, membership);
                Ok(changed)
            })
        });
        Ok(changed.await??)
    }

    /// Writes everything down: the folder is whole when this returns.
    pub async fn finish(self) -> Result<Imported, ImportError> {
        let counted = self.state.read(|state| {
            let system = System::load(state)?;
            Ok((system.live_pins, query::members(state)?.len()))
        });
        let (pins, members) = counted.await?;
        self.state.close().await?;
        let (log, _) = RaftLog::open(&self.env, self.folder.file("raft.redb")).await?;
        let identity = codec::encode(&self.identity);
        log.set(Slot::Identity, identity.into()).await?;
        log.close().await?;
        self.folder.set_identity(&self.env, self.identity).await?;
        Ok(Imported { pins, members })
    }
}

/// In term 0, as the first entry of every log: the first leader's comes after.
fn position_of(system: &System, membership: Vec<u8>) -> Position {
    Position {
        log: Some(LogPos {
            term: 0,
            index: system.index.0,
        }),
        membership,
        rev: system.rev,
        at: system.at,
    }
}

fn sole_voter(own: RaftId) -> io::Result<Vec<u8>> {
    let voters = vec![BTreeSet::from([own.clone()])];
    let nodes = std::collections::BTreeMap::from([(own, EmptyNode::new())]);
    let membership = Membership::new(voters, nodes).map_err(io::Error::other)?;
    let first = wire::log_id(LogPos { term: 0, index: 0 });
    let stored = StoredMembership::new(Some(first), membership);
    Ok(wire::encode_membership(&stored))
}
