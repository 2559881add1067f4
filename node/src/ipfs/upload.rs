//! Blocks that come together, such as those of one add, and what becomes of them.

use bytes::Bytes;
use ipfs_cluster_protocol::id::Cid;

use super::{IpfsError, SharedIpfs};

/// An upload to a node. Dropped before it is complete, its blocks are garbage at once.
#[derive(Debug)]
pub(crate) struct Upload {
    node: SharedIpfs,
    id: u64,
    complete: bool,
}

impl Upload {
    pub(crate) fn begin(node: &SharedIpfs) -> Self {
        Self {
            id: node.begin_upload(),
            node: node.clone(),
            complete: false,
        }
    }

    /// Stores blocks durably, whose names are known to be right; resolves when they are.
    pub(crate) async fn put(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), IpfsError> {
        self.node.block_put_for(self.id, blocks).await
    }

    /// All blocks have come, and somebody is about to pin them.
    pub(crate) fn complete(mut self) {
        self.complete = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.node.end_upload(self.id, self.complete);
    }
}
