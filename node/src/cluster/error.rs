//! Why a use case failed. The API maps these to status codes in one place.

use std::time::Duration;

use ipfs_cluster_protocol::{id::Epoch, rpc::Refusal};

use crate::ipfs::IpfsError;

/// What a client of the cluster is told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// There is no such pin.
    #[error("pin is not part of the pinset")]
    NotPinned,
    /// The request breaks a rule of the cluster.
    #[error("{0}")]
    Invalid(String),
    /// The request itself cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// Nobody leads: no quorum, or an election takes long. Nothing was done.
    #[error("timed out waiting for leader: context deadline exceeded")]
    NoLeader,
    /// The write was submitted, its outcome did not arrive in time.
    #[error("{0}; it may or may not have happened: read the state before trying again")]
    Unknown(String),
    /// This peer cannot serve now; nothing was done.
    #[error("{0}")]
    Unavailable(String),
    /// The peer has not yet caught up with what it knew before its restart.
    #[error("this peer is recovering its state, try again shortly")]
    Recovering,
    /// `min-index` names another epoch.
    #[error("the index is of epoch {asked}, this cluster is at epoch {ours}")]
    OtherEpoch {
        /// The client's.
        asked: Epoch,
        /// This cluster's.
        ours: Epoch,
    },
    /// The cluster goes on without this peer, or without the one that leads it.
    #[error("{0}")]
    LeftBehind(String),
    /// The index asked for was not applied here in time.
    #[error("index not applied here within {0:?}")]
    TooFarBehind(Duration),
    /// The IPFS node failed.
    #[error(transparent)]
    Ipfs(#[from] IpfsError),
    /// The state's file failed: the peer is about to stop.
    #[error("{0}")]
    Store(String),
}

impl From<Refusal> for ClusterError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotLeader { .. } => Self::NoLeader,
            Refusal::NotPinned => Self::NotPinned,
            Refusal::Invalid(text) => Self::Invalid(text),
            Refusal::Unknown(text) => Self::Unknown(text),
            Refusal::Unavailable(text) => Self::Unavailable(text),
            Refusal::LeftBehind(text) => Self::LeftBehind(text),
        }
    }
}
