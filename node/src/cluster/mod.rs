//! The use cases: what a client can ask of a peer, whatever it speaks.
//!
//! ```text
//!  api ─▶ Cluster ─ pins ──┐
//!                 ─ add ───┤─▶ submit ─▶ forward ─▶ the leader's peer ─┐
//!                 ─ members┘        └──▶ leader (decide) ◀─────────────┘─▶ consensus
//!                 ─ status ─▶ status tables, monitor: local
//! ```
//!
//! **Architecture invariant:** decisions are made in `leader`, nowhere else; nothing here applies
//! them.

mod add;
mod backend;
pub(crate) mod blocks;
pub mod error;
mod forward;
pub(crate) mod forward_server;
mod garbage;
pub(crate) mod leader;
mod leave;
mod listing;
mod members;
mod observe;
mod pins;
mod requests;
pub(crate) mod rpc;
mod sharded;
mod shown;
mod status;
mod submit;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use ipfs_cluster_protocol::{
    id::{Cid, Epoch, PeerId},
    state::{StateRead, StoreError},
    time::Timestamp,
};

pub use self::{
    add::AddSession, error::ClusterError, leave::LeaveError, pins::Commit, sharded::ShardedSession,
};
use self::{forward::Forwarder, leader::Leader};
use crate::{
    consensus::Consensus, ipfs::SharedIpfs, monitor::Monitor, net::Net, repair::Repair,
    status::StatusTables, tracker::Tracker,
};

/// What the use cases need of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Shown to users.
    pub peername: String,
    /// For pins that do not say (min, max).
    pub default_factors: (i32, i32),
    /// Metrics that order candidates for a pin.
    pub allocate_by: Vec<String>,
    /// Writes through this peer are refused.
    pub follower_mode: bool,
    /// How long a write waits for a leader and its quorum.
    pub write_timeout: Duration,
    /// Stands for a CID that is not known yet.
    pub unknown_cid: Cid,
}

/// The parts a [`Cluster`] works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) me: PeerId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) net: Net,
    pub(crate) consensus: Consensus,
    pub(crate) ipfs: SharedIpfs,
    pub(crate) tables: StatusTables,
    pub(crate) monitor: Monitor,
    pub(crate) tracker: Tracker,
    pub(crate) repair: Repair,
    pub(crate) leader: Leader,
}

/// A peer's use cases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    me: PeerId,
    settings: Arc<Settings>,
    net: Net,
    consensus: Consensus,
    ipfs: SharedIpfs,
    tables: StatusTables,
    monitor: Monitor,
    tracker: Tracker,
    repair: Repair,
    leader: Leader,
    forwarder: Forwarder,
    /// Pins in the state, counted now and then.
    pins: AtomicU64,
    /// The millisecond of the last request's id.
    last_request: AtomicU64,
    uploads: blocks::Uploads,
}

impl Cluster {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            forwarder: Forwarder::new(parts.net.clone()),
            pins: AtomicU64::new(0),
            last_request: AtomicU64::new(0),
            uploads: blocks::Uploads::default(),
            me: parts.me,
            settings: parts.settings,
            net: parts.net,
            consensus: parts.consensus,
            ipfs: parts.ipfs,
            tables: parts.tables,
            monitor: parts.monitor,
            tracker: parts.tracker,
            repair: parts.repair,
            leader: parts.leader,
        }))
    }

    /// The IPFS node beside this peer.
    #[must_use]
    pub fn ipfs(&self) -> &SharedIpfs {
        &self.0.ipfs
    }

    /// Everybody's status tables, as this peer knows them.
    #[must_use]
    pub fn tables(&self) -> &StatusTables {
        &self.0.tables
    }

    /// What uploads bring to it.
    pub(crate) fn uploads(&self) -> &blocks::Uploads {
        &self.0.uploads
    }

    /// Whether this peer serves: what it reads locally is at least what it knew before its last
    /// stop, and its cluster does not go on without it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reads() && self.0.consensus.left_behind().is_none()
    }

    /// Whether this peer decides writes now.
    pub(crate) fn leads(&self) -> bool {
        self.0.leader.leads()
    }

    fn reads(&self) -> bool {
        !self.0.consensus.status().borrow().recovering
    }

    /// The cluster's epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.consensus.epoch()
    }

    /// Reads this peer's state, unless it may have gone back.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn StateRead) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ClusterError> {
        if !self.reads() {
            return Err(ClusterError::Recovering);
        }
        let state = self.0.consensus.state();
        state
            .read(read)
            .await
            .map_err(|e| ClusterError::Store(e.to_string()))
    }

    fn wall_clock(&self) -> Timestamp {
        wall_clock()
    }
}

/// This peer's wall clock.
pub(crate) fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
}
