//! Whole DAGs, block by block, depth first.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_protocol::{
    content::{
        RAW,
        links::links,
        list::{EntryKind, Listing, describe},
        path::{ContentPath, Lookup},
        read::FileRead,
    },
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

/// All blocks of a DAG, the root first; each one once if `unique`.
pub(crate) fn blocks(node: &Node, root: Cid, unique: bool) -> IpfsStream<(Cid, Bytes)> {
    let walk = Walk {
        unique,
        ..Walk::new(node, root, usize::MAX)
    };
    let all = walked(walk, true);
    all.map_ok(|(cid, _, block)| (cid, block.unwrap_or_default()))
        .boxed()
}

/// The way to what a path names.
struct Way {
    node: Node,
    names: std::vec::IntoIter<String>,
    at: Cid,
    lookup: Option<Lookup>,
}

impl Way {
    async fn next(&mut self) -> Result<Option<(Cid, Bytes)>, IpfsError> {
        let lookup = self.lookup.take();
        let next = lookup.or_else(|| Some(Lookup::new(self.at, &self.names.next()?)));
        let Some(mut lookup) = next else {
            return Ok(None);
        };
        let wanted = lookup.wanted();
        let block = self.node.block_get(wanted).await?;
        match lookup.supply(&block)? {
            Some(found) => self.at = found,
            None => self.lookup = Some(lookup),
        }
        Ok(Some((wanted, block)))
    }
}

/// The blocks on the way to what a path names, without those of it: a sharded folder has several.
pub(crate) fn path_blocks(node: &Node, path: ContentPath) -> IpfsStream<(Cid, Bytes)> {
    let way = Way {
        node: node.clone(),
        names: path.names.into_iter(),
        at: path.root,
        lookup: None,
    };
    stream::unfold(Some(way), |way| async move {
        let mut way = way?;
        match way.next().await {
            Ok(None) => None,
            Ok(Some(block)) => Some((Ok(block), Some(way))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// One block.
pub(crate) fn block(node: &Node, cid: Cid) -> IpfsStream<(Cid, Bytes)> {
    let node = node.clone();
    let get = async move { Ok((cid, node.block_get(cid).await?)) };
    stream::once(get).boxed()
}

/// What is read of an entity: a file whole or in part, or what it takes to list a folder.
enum Entity {
    Unknown(Cid),
    File(FileRead),
    Folder(Listing),
    Done,
}

struct Reading {
    node: Node,
    entity: Entity,
    bytes: (u64, u64),
    seen: BTreeSet<Box<[u8]>>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<(Cid, Bytes)>, IpfsError> {
        loop {
            let wanted = match &self.entity {
                Entity::Unknown(cid) => Some(*cid),
                Entity::File(file) => file.wanted(),
                Entity::Folder(listing) => listing.wanted(),
                Entity::Done => None,
            };
            let Some(cid) = wanted else { return Ok(None) };
            let block = self.node.block_get(cid).await?;
            if let Entity::Unknown(_) = self.entity {
                self.entity = match describe(&cid, &block).map(|d| d.kind) {
                    Ok(EntryKind::File) => {
                        Entity::File(FileRead::range(cid, self.bytes.0, self.bytes.1))
                    }
                    Ok(EntryKind::Folder) => Entity::Folder(Listing::new(cid)),
                    Ok(EntryKind::Symlink(_)) | Err(_) => Entity::Done,
                };
            }
            match &mut self.entity {
                Entity::File(file) => {
                    let read = file.supply(block.clone());
                    read.map_err(|e| IpfsError::Refused(e.to_string()))?;
                }
                Entity::Folder(listing) => {
                    listing.supply(&block)?;
                }
                Entity::Unknown(_) | Entity::Done => {}
            }
            let key = cid.0.hash().to_bytes().into();
            let new = match self.seen.len() < DAG_SEEN_MAX {
                true => self.seen.insert(key),
                false => !self.seen.contains(&key),
            };
            if new {
                return Ok(Some((cid, block)));
            }
        }
    }
}

/// The blocks of a file (of these bytes of it, from the first to the last), or those that it takes to
/// list a folder.
pub(crate) fn entity(
    node: &Node,
    root: Cid,
    bytes: Option<(u64, Option<u64>)>,
) -> IpfsStream<(Cid, Bytes)> {
    let (from, to) = bytes.unwrap_or((0, None));
    let length = to.map_or(u64::MAX, |to| to.saturating_sub(from).saturating_add(1));
    let reading = Reading {
        node: node.clone(),
        entity: Entity::Unknown(root),
        bytes: (from, length),
        seen: BTreeSet::new(),
    };
    stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(None) => None,
            Ok(Some(block)) => Some((Ok(block), Some(reading))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}
