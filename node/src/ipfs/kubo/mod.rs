//! An IPFS node behind Kubo's RPC (`/api/v0`): Kubo itself, or what speaks like it (js-ipfs).
//!
//! [`call`] is one request and its answer, [`pin`] the pins, [`data`] blocks and files, [`info`] the
//! node itself.

use std::{sync::atomic::AtomicBool, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use ipfs_cluster_protocol::{
    id::{Cid, PeerId},
    pin::PinMode,
};
use tokio::sync::OnceCell;

use super::{
    Collected, IpfsError, IpfsId, IpfsNode, IpfsStream, PinProgress, PinRequest, RepoStat,
    http::HttpClient,
};
use crate::env::{Addr, Env};

mod call;
mod calls;
mod data;
mod info;
mod pin;
#[cfg(test)]
mod tests;

use call::Rpc;
pub use calls::Calls;

/// How long Kubo may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KuboTimeouts {
    /// For what answers soon, and between two pieces of a streamed answer.
    pub request: Duration,
    /// A pin without a new block for so long has failed.
    pub pin: Duration,
    /// For an unpin.
    pub unpin: Duration,
    /// For a garbage collection.
    pub gc: Duration,
}

impl Default for KuboTimeouts {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(5 * 60),
            pin: Duration::from_secs(2 * 60),
            unpin: Duration::from_secs(3 * 3600),
            gc: Duration::from_secs(24 * 3600),
        }
    }
}

/// The node.
#[derive(Debug)]
pub struct Kubo {
    rpc: Rpc,
    timeouts: KuboTimeouts,
    /// Whether its pins have names, once it has said its version.
    has_names: OnceCell<bool>,
    /// Whether it was seen to take no more than one block a request.
    one_block_a_put: AtomicBool,
}

impl Kubo {
    /// The node whose RPC listens at `addr`. Nothing is sent before the first call.
    #[must_use]
    pub fn new(addr: Addr, env: &Env, timeouts: KuboTimeouts) -> Self {
        Self::over(HttpClient::new(env.connect.clone(), addr), timeouts)
    }

    /// The node behind this client.
    #[must_use]
    pub fn over(http: HttpClient, timeouts: KuboTimeouts) -> Self {
        Self {
            rpc: Rpc::new(http),
            timeouts,
            has_names: OnceCell::new(),
            one_block_a_put: AtomicBool::new(false),
        }
    }
}

impl Kubo {
    /// What its calls took.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        self.rpc.calls()
    }
}

impl IpfsNode for Kubo {
    fn id(&self) -> BoxFuture<'_, Result<IpfsId, IpfsError>> {
        Box::pin(self.ask_id())
    }

    fn version(&self) -> BoxFuture<'_, Result<String, IpfsError>> {
        Box::pin(self.ask_version())
    }

    fn pin(
        &self,
        request: PinRequest,
        progress: Box<dyn FnMut(PinProgress) + Send>,
    ) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(self.do_pin(request, progress))
    }

    fn unpin(&self, cid: Cid) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(self.do_unpin(cid))
    }

    fn pin_mode(&self, cid: Cid) -> BoxFuture<'_, Result<Option<PinMode>, IpfsError>> {
        Box::pin(self.find_pin(cid))
    }

    fn pin_ls(&self) -> BoxFuture<'_, Result<IpfsStream<(Cid, PinMode)>, IpfsError>> {
        Box::pin(self.list_pins())
    }

    fn repo_stat(&self) -> BoxFuture<'_, Result<RepoStat, IpfsError>> {
        Box::pin(self.ask_repo_stat())
    }

    fn repo_gc(&self) -> BoxFuture<'_, Result<IpfsStream<Collected>, IpfsError>> {
        Box::pin(self.collect_garbage())
    }

    fn swarm_connect(&self, address: String) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(async move {
            self.rpc
                .connect_swarm(&address, self.timeouts.request)
                .await
        })
    }

    fn swarm_peers(&self) -> BoxFuture<'_, Result<Vec<PeerId>, IpfsError>> {
        Box::pin(self.ask_swarm_peers())
    }

    fn block_put(&self, blocks: Vec<(Cid, Bytes)>) -> BoxFuture<'_, Result<(), IpfsError>> {
        Box::pin(self.put_blocks(blocks))
    }

    fn block_get(&self, cid: Cid) -> BoxFuture<'_, Result<Bytes, IpfsError>> {
        Box::pin(self.get_block(cid))
    }

    fn resolve(&self, path: String) -> BoxFuture<'_, Result<Cid, IpfsError>> {
        Box::pin(self.resolve_path(path))
    }

    fn cat(&self, path: String) -> BoxFuture<'_, Result<IpfsStream<Bytes>, IpfsError>> {
        Box::pin(self.read_file(path))
    }
}
