//! `add` to this node alone.

use async_trait::async_trait;
use http::HeaderMap;
use hyper::body::Incoming;
use ipfs_cluster_protocol::{
    api::{add::AddParams, query::Query},
    content::Block,
    id::{Cid, PeerId},
    pin::{Pin, PinMode},
};

use crate::{
    api::{
        backend::{AddSession, AddTo, Commit},
        http::reply::Reply,
        proxy::{add::upload, reply::error},
    },
    cluster::ClusterError,
    ipfs::{PinRequest, SharedIpfs, upload::Upload},
};

/// What becomes of an upload.
#[derive(Debug, Clone)]
struct ToNode {
    node: SharedIpfs,
    /// Of its pin.
    name: String,
    /// Nothing is stored: the CIDs alone are wanted.
    only_hash: bool,
}

/// One upload.
struct Session {
    to: ToNode,
    upload: Upload,
    pins: bool,
}

pub(super) async fn add(
    node: &SharedIpfs,
    query: Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Reply {
    if !query.get("to-files").is_empty() {
        return error("to-files is not possible: this node has no mutable files");
    }
    let to = ToNode {
        node: node.clone(),
        name: query.get("pin-name").to_owned(),
        only_hash: query.get("only-hash") == "true",
    };
    upload(&to, query, headers, body).await
}

#[async_trait]
impl AddTo for ToNode {
    async fn add_session(
        &self,
        params: &AddParams,
        _bytes: u64,
    ) -> Result<Box<dyn AddSession>, ClusterError> {
        Ok(Box::new(Session {
            pins: !params.no_pin && !self.only_hash,
            upload: Upload::begin(&self.node),
            to: self.clone(),
        }))
    }
}

#[async_trait]
impl AddSession for Session {
    fn allocations(&self) -> Vec<PeerId> {
        Vec::new()
    }

    async fn put(&mut self, blocks: Vec<Block>) -> Result<(), ClusterError> {
        if self.to.only_hash {
            return Ok(());
        }
        let blocks = blocks.into_iter().map(|b| (b.cid, b.data)).collect();
        Ok(self.upload.put(blocks).await?)
    }

    async fn finish(
        self: Box<Self>,
        root: Cid,
        _bytes: u64,
    ) -> Result<Option<(Pin, Commit)>, ClusterError> {
        self.upload.complete();
        if self.pins {
            let request = PinRequest::new(root, PinMode::Recursive, &self.to.name);
            self.to.node.pin(request, Box::new(|_| ())).await?;
        }
        Ok(None)
    }
}
