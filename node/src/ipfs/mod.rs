//! The IPFS node beside the peer: one trait, two implementations (Kubo's RPC, embedded).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use ipfs_cluster_protocol::{
    content::hash::VerifyError,
    id::{Cid, PeerId},
    pin::PinMode,
};

pub mod embedded;
pub(crate) mod holds;
pub mod http;
pub mod kubo;
pub(crate) mod read;
#[cfg(test)]
mod scripted;
pub(crate) mod secured;
pub(crate) mod tar;
pub(crate) mod upload;
pub(crate) mod walk;

/// Why a call to the IPFS node failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IpfsError {
    /// No answer, or none that could be understood: the node is down.
    #[error("{0}")]
    Unreachable(String),
    /// The node said no; the text is its own.
    #[error("{0}")]
    Refused(String),
    /// No block arrived for the time given.
    #[error("no progress for {0:?}")]
    Stalled(std::time::Duration),
    /// Nothing to do it to: the CID is not pinned.
    #[error("not pinned or pinned indirectly")]
    NotPinned,
    /// This kind of node cannot do it.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
}

impl From<VerifyError> for IpfsError {
    fn from(error: VerifyError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Who the node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpfsId {
    /// Its peer ID in the IPFS swarm.
    pub id: PeerId,
    /// Its multiaddrs, with `/p2p/`.
    pub addresses: Vec<String>,
}

/// How full the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoStat {
    /// Bytes used.
    pub repo_size: u64,
    /// Bytes allowed.
    pub storage_max: u64,
}

/// What a garbage collection says as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collected {
    /// A block that was removed.
    Removed(Cid),
    /// Why something was not.
    Failed(String),
}

/// What a check of all blocks finds as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// So many more blocks are what their names say.
    Whole(u64),
    /// One that is not. It was moved aside.
    Corrupt(Cid),
}

/// How far a pin has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PinProgress {
    /// Blocks seen so far.
    pub blocks: u64,
    /// Their bytes, where the node tells.
    pub bytes: u64,
}

/// One pin order.
#[derive(Debug, Clone)]
pub struct PinRequest {
    /// The root.
    pub cid: Cid,
    /// Recursive or direct.
    pub mode: PinMode,
    /// Recursive, but no further than what the root links to: a shard lists inner nodes of a DAG
    /// whose children are in other shards.
    pub shard: bool,
    /// Name, may be empty.
    pub name: String,
    /// A pin that shares most of the DAG.
    pub update_from: Option<Cid>,
    /// Multiaddrs (with `/p2p/`) to connect to first.
    pub origins: Vec<String>,
}

impl PinRequest {
    /// Of a DAG or a block by itself: no shard, no pin before it, no origins.
    #[must_use]
    pub fn new(cid: Cid, mode: PinMode, name: &str) -> Self {
        Self {
            cid,
            mode,
            shard: false,
            name: name.to_owned(),
            update_from: None,
            origins: Vec::new(),
        }
    }
}

/// A streamed answer.
pub type IpfsStream<T> = BoxStream<'static, Result<T, IpfsError>>;

/// What the cluster asks of an IPFS node. Every call has a deadline of its own.
pub trait IpfsNode: Send + Sync + fmt::Debug {
    /// Identity and addresses.
    fn id(&self) -> BoxFuture<'_, Result<IpfsId, IpfsError>>;
    /// Version text, as the node gives it.
    fn version(&self) -> BoxFuture<'_, Result<String, IpfsError>>;
    /// Pins what [`Self::pin_mode`] has shown not to be pinned so: a node need not look again.
    /// Resolves when every block is held. `progress` is called as blocks arrive. Fails with
    /// [`IpfsError::Stalled`] when the count of blocks stands still for the configured time-out.
    /// Dropping the future stops the fetch.
    fn pin(
        &self,
        request: PinRequest,
        progress: Box<dyn FnMut(PinProgress) + Send>,
    ) -> BoxFuture<'_, Result<(), IpfsError>>;
    /// Unpins; [`IpfsError::NotPinned`] when there is nothing to unpin.
    fn unpin(&self, cid: Cid) -> BoxFuture<'_, Result<(), IpfsError>>;
    /// How one CID is pinned (not counting indirect pins), if it is.
    fn pin_mode(&self, cid: Cid) -> BoxFuture<'_, Result<Option<PinMode>, IpfsError>>;
    /// All recursive and direct pins.
    fn pin_ls(&self) -> BoxFuture<'_, Result<IpfsStream<(Cid, PinMode)>, IpfsError>>;
    /// Room.
    fn repo_stat(&self) -> BoxFuture<'_, Result<RepoStat, IpfsError>>;
    /// Bytes that it can still take. Less than what [`Self::repo_stat`] leaves where the disk has no
    /// more.
    fn free(&self) -> BoxFuture<'_, Result<u64, IpfsError>> {
        Box::pin(async move {
            let stat = self.repo_stat().await?;
            Ok(stat.storage_max.saturating_sub(stat.repo_size))
        })
    }
    /// Removes what no pin holds.
    fn repo_gc(&self) -> BoxFuture<'_, Result<IpfsStream<Collected>, IpfsError>> {
        Box::pin(std::future::ready(Err(IpfsError::Unsupported(
            "this IPFS node collects no garbage",
        ))))
    }
    /// Whether its own store has a block.
    fn has_block(&self, _cid: Cid) -> BoxFuture<'_, Result<bool, IpfsError>> {
        Box::pin(std::future::ready(Err(IpfsError::Unsupported(
            "this IPFS node does not tell what it has",
        ))))
    }
    /// The blocks of its store, as plain bytes: their files do not say what else they are.
    fn blocks(&self) -> BoxFuture<'_, Result<IpfsStream<Cid>, IpfsError>> {
        Box::pin(std::future::ready(Err(IpfsError::Unsupported(
            "this IPFS node does not list its blocks",
        ))))
    }
    /// Compares every block with its name.
    fn repo_verify(&self) -> BoxFuture<'_, Result<IpfsStream<Checked>, IpfsError>> {
        Box::pin(std::future::ready(Err(IpfsError::Unsupported(
            "this IPFS node does not check its blocks",
        ))))
    }
    /// Connects the node to another one.
    fn swarm_connect(&self, address: String) -> BoxFuture<'_, Result<(), IpfsError>>;
    /// Peers the node is connected to.
    fn swarm_peers(&self) -> BoxFuture<'_, Result<Vec<PeerId>, IpfsError>>;
    /// Stores blocks durably; resolves when they are.
    fn block_put(&self, blocks: Vec<(Cid, Bytes)>) -> BoxFuture<'_, Result<(), IpfsError>>;
    /// Blocks of an upload follow; its number for the two calls below. See [`upload::Upload`].
    fn begin_upload(&self) -> u64 {
        0
    }
    /// As [`Self::block_put`], for an upload, of blocks whose names are known to be right: they were made
    /// here, or checked when they came.
    fn block_put_for(
        &self,
        _upload: u64,
        blocks: Vec<(Cid, Bytes)>,
    ) -> BoxFuture<'_, Result<(), IpfsError>> {
        self.block_put(blocks)
    }
    /// No more blocks of the upload come. If it is not complete, nobody needs those that have.
    fn end_upload(&self, _upload: u64, _complete: bool) {}
    /// One block, from the local store or the network.
    fn block_get(&self, cid: Cid) -> BoxFuture<'_, Result<Bytes, IpfsError>>;
    /// Resolves a path to the CID it names.
    fn resolve(&self, path: String) -> BoxFuture<'_, Result<Cid, IpfsError>>;
    /// Bytes of a UnixFS file.
    fn cat(&self, path: String) -> BoxFuture<'_, Result<IpfsStream<Bytes>, IpfsError>>;
}

/// Shared by all who need the node.
pub type SharedIpfs = Arc<dyn IpfsNode>;
