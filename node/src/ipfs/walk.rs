//! Whole DAGs, block by block, depth first.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_protocol::{
    content::{RAW, links::links},
    id::Cid,
    limits::{DAG_PENDING_MAX, DAG_SEEN_MAX},
};

use super::{IpfsError, IpfsNode, IpfsStream};

type Node = Arc<dyn IpfsNode>;

struct Walk {
    node: Node,
    /// Blocks to visit and how far below the root they are, the next one last.
    pending: Vec<(Cid, usize)>,
    seen: BTreeSet<Box<[u8]>>,
    depth_max: usize,
    unique: bool,
}

/// What a walk meets: a block, and its bytes where they were read.
type Met = (Cid, usize, Option<Bytes>);

impl Walk {
    fn new(node: &Node, root: Cid, depth_max: usize) -> Self {
        Self {
            node: node.clone(),
            pending: vec![(root, 0)],
            seen: BTreeSet::new(),
            depth_max,
            unique: true,
        }
    }

    /// Whether it is met for the first time. What does not fit into memory is met again.
    fn is_new(&mut self, cid: &Cid) -> bool {
        let key = cid.0.hash().to_bytes().into();
        if self.seen.len() >= DAG_SEEN_MAX {
            return !self.seen.contains(&key);
        }
        self.seen.insert(key)
    }

    async fn next(&mut self, read_leaves: bool) -> Result<Option<Met>, IpfsError> {
        let Some((cid, depth)) = self.pending.pop() else {
            return Ok(None);
        };
        let inner = depth < self.depth_max && cid.0.codec() != RAW;
        if !inner && !read_leaves {
            return Ok(Some((cid, depth, None)));
        }
        let block = self.node.block_get(cid).await?;
        if inner {
            let children = links(&cid, &block).map_err(|e| IpfsError::Refused(e.to_string()))?;
            if self.pending.len() + children.len() > DAG_PENDING_MAX {
                let text = format!("the DAG is too wide: more than {DAG_PENDING_MAX} links wait");
                return Err(IpfsError::Refused(text));
            }
            for child in children.into_iter().rev() {
                self.pending.push((child, depth + 1));
            }
        }
        Ok(Some((cid, depth, Some(block))))
    }

    /// The next block, none twice.
    async fn next_new(&mut self, read_leaves: bool) -> Result<Option<Met>, IpfsError> {
        while let Some((cid, _)) = self.pending.last().copied() {
            if !self.unique || self.is_new(&cid) {
                return self.next(read_leaves).await;
            }
            self.pending.pop();
        }
        Ok(None)
    }
}

fn walked(walk: Walk, read_leaves: bool) -> IpfsStream<Met> {
    stream::unfold(Some(walk), move |walk| async move {
        let mut walk = walk?;
        match walk.next_new(read_leaves).await {
            Ok(None) => None,
            Ok(Some(met)) => Some((Ok(met), Some(walk))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// The blocks below a root, down to `depth_max` links away; each one once if `unique`.
pub(crate) fn refs(node: &Node, root: Cid, depth_max: usize, unique: bool) -> IpfsStream<Cid> {
    let walk = Walk {
        unique,
        ..Walk::new(node, root, depth_max)
    };
    let below = walked(walk, false)
        .try_filter_map(|(cid, depth, _)| std::future::ready(Ok((depth > 0).then_some(cid))));
    below.boxed()
}

/// All blocks of a DAG, the root first, each one once.
pub(crate) fn blocks(node: &Node, root: Cid) -> IpfsStream<(Cid, Bytes)> {
    let all = walked(Walk::new(node, root, usize::MAX), true);
    all.map_ok(|(cid, _, block)| (cid, block.unwrap_or_default()))
        .boxed()
}
