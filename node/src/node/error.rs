//! Why a peer does not start.

use crate::{
    api::ListenError,
    consensus::JoinError,
    ipfs::embedded::EmbeddedError,
    net::{DialError, NetError},
    storage::OpenError,
};

/// Why a peer does not start. The text names the key, file or address, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The swarm.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The built-in IPFS node.
    #[error(transparent)]
    Ipfs(#[from] EmbeddedError),
    /// A server.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No address of `--bootstrap` led to a peer.
    #[error("no address given with --bootstrap could be reached: {0}")]
    Bootstrap(#[source] DialError),
    /// The cluster did not take this peer, or none could be formed.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The configuration asks for what cannot be done.
    #[error("{0}")]
    Config(String),
}
