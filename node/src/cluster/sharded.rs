//! Adding content that no single peer has to hold: its blocks are cut into shards as they come, each
//! shard goes to peers of its own, and the root stands for all of them.
//!
//! ```text
//!   meta pin (root) ──reference──▶ cluster DAG, at every peer ──links──▶ shard 0, shard 1, …
//!                                                                        each lists its blocks
//! ```
//! A shard's pin holds the blocks that the shard lists and nothing below them: an inner node is in one
//! shard, what is below it may be in others. Pinned is at the end, the root first, so that whatever
//! happens then can be undone by unpinning the root.

use std::collections::BTreeSet;

use bytes::Bytes;
use ipfs_cluster_protocol::{
    api::add::{AddParams, AddedOutput},
    content::{Block, shard_list},
    id::{Cid, PeerId},
    limits::{DAG_SEEN_MAX, SHARD_BYTES, SHARD_LINKS_MAX},
    pin::{Pin, PinMode, PinSpec, PinType, Replication},
    rpc::Op,
};

use super::{AddSession, Cluster, ClusterError, Commit};
use crate::ipfs::upload::Upload;

/// An add in shards under way. Dropped before its end, it leaves nothing pinned.
#[derive(Debug)]
pub struct ShardedSession {
    cluster: Cluster,
    params: AddParams,
    /// Bytes of blocks that a shard stays below.
    shard_bytes: u64,
    open: Option<OpenShard>,
    done: Vec<Shard>,
    /// Blocks that are in a shard already. Further ones than are remembered may be in several.
    seen: BTreeSet<Box<[u8]>>,
    /// Of the shard that was filled last: what progress lines name.
    allocations: Vec<PeerId>,
    /// Shards to tell of.
    lines: Vec<AddedOutput>,
    /// The list of shards, once it is stored.
    list: Option<Cid>,
}

/// The shard that is being filled.
#[derive(Debug)]
struct OpenShard {
    session: AddSession,
    links: Vec<Cid>,
    bytes: u64,
}

/// A shard whose blocks are stored.
#[derive(Debug)]
struct Shard {
    cid: Cid,
    bytes: u64,
    allocations: Option<Vec<PeerId>>,
}

impl Cluster {
    /// Opens an upload that is cut into shards. Peers are chosen for each shard when it begins.
    pub fn sharded_session(&self, params: AddParams) -> Result<ShardedSession, ClusterError> {
        self.may_write()?;
        let shard_bytes = match params.options.shard_size {
            0 => SHARD_BYTES,
            bytes => bytes,
        };
        Ok(ShardedSession {
            cluster: self.clone(),
            params,
            shard_bytes,
            open: None,
            done: Vec::new(),
            seen: BTreeSet::new(),
            allocations: Vec::new(),
            lines: Vec::new(),
            list: None,
        })
    }
}

fn no_list() -> ClusterError {
    ClusterError::Invalid("the list of blocks cannot be named".to_owned())
}

impl ShardedSession {
    /// Peers of the shard that is being filled.
    pub fn allocations(&self) -> Vec<PeerId> {
        self.allocations.clone()
    }

    /// What became of shards since the last call.
    pub fn lines(&mut self) -> Vec<AddedOutput> {
        std::mem::take(&mut self.lines)
    }

    /// Puts blocks into shards; waits while their peers have too many before them.
    pub async fn put(&mut self, blocks: Vec<(Cid, Bytes)>) -> Result<(), ClusterError> {
        let mut together = Vec::new();
        for (cid, data) in blocks {
            let key: Box<[u8]> = cid.0.hash().to_bytes().into();
            if self.seen.contains(&key) {
                continue;
            }
            if self.seen.len() < DAG_SEEN_MAX {
                self.seen.insert(key);
            }
            let bytes = data.len() as u64;
            if !self.has_room(bytes) {
                self.send(std::mem::take(&mut together)).await?;
                self.close_shard().await?;
            }
            let shard = self.open_shard(bytes).await?;
            shard.links.push(cid);
            shard.bytes += bytes;
            together.push((cid, data));
        }
        self.send(together).await
    }

    /// Whether the open shard, or a new one, takes a block of so many bytes.
    fn has_room(&self, bytes: u64) -> bool {
        self.open.as_ref().is_none_or(|shard| {
            shard.bytes.saturating_add(bytes) < self.shard_bytes
                && shard.links.len() < SHARD_LINKS_MAX
        })
    }

    async fn send(&mut self, blocks: Vec<(Cid, Bytes)>) -> Result<(), ClusterError> {
        match &mut self.open {
            Some(shard) if !blocks.is_empty() => shard.session.put(blocks).await,
            _ => Ok(()),
        }
    }

    async fn open_shard(&mut self, bytes: u64) -> Result<&mut OpenShard, ClusterError> {
        if self.open.is_none() {
            if bytes >= self.shard_bytes {
                return Err(ClusterError::Invalid(
                    "block doesn't fit in empty shard: shard size too small?".to_owned(),
                ));
            }
            if self.done.len() >= SHARD_LINKS_MAX {
                return Err(ClusterError::Invalid(format!(
                    "the content takes more than {SHARD_LINKS_MAX} shards of {} bytes: give a \
                     larger shard-size",
                    self.shard_bytes
                )));
            }
            let params = self.params.clone();
            let session = self.cluster.add_session(params, self.shard_bytes).await?;
            self.allocations = session.allocations();
            self.open = Some(OpenShard {
                session,
                links: Vec::new(),
                bytes: 0,
            });
        }
        let missing = || ClusterError::Invalid("no shard is open".to_owned());
        self.open.as_mut().ok_or_else(missing)
    }

    /// Sends the shard's own node and waits until all of it is stored.
    async fn close_shard(&mut self) -> Result<(), ClusterError> {
        let Some(mut shard) = self.open.take() else {
            return Ok(());
        };
        let node = shard_list::list(&shard.links).ok_or_else(no_list)?;
        shard.session.put(vec![(node.cid, node.data)]).await?;
        let allocations = shard.session.stored(node.cid).await?;
        self.lines.push(AddedOutput {
            name: format!("shard-{}", self.done.len()),
            cid: Some(node.cid),
            bytes: 0,
            size: shard.bytes,
            allocations: self.allocations.clone(),
        });
        self.done.push(Shard {
            cid: node.cid,
            bytes: shard.bytes,
            allocations,
        });
        Ok(())
    }

    /// Stores what is left, and the list of shards.
    pub async fn seal(&mut self) -> Result<(), ClusterError> {
        self.close_shard().await?;
        let shards: Vec<Cid> = self.done.iter().map(|shard| shard.cid).collect();
        let list: Block = shard_list::list(&shards).ok_or_else(no_list)?;
        // Here alone: the others fetch it, it is pinned everywhere.
        let upload = Upload::begin(self.cluster.ipfs());
        let uploads = self.cluster.uploads();
        uploads.put(&upload, vec![(list.cid, list.data)]).await?;
        upload.complete();
        self.list = Some(list.cid);
        self.lines.push(AddedOutput {
            name: format!("{}-clusterDAG", self.params.options.name),
            cid: Some(list.cid),
            bytes: 0,
            size: self.done.iter().map(|shard| shard.bytes).sum(),
            allocations: Vec::new(),
        });
        Ok(())
    }

    /// Pins the root, the list of shards and the shards. Where that fails, what was pinned is
    /// unpinned again.
    pub async fn finish(mut self, root: Cid) -> Result<Option<(Pin, Commit)>, ClusterError> {
        if self.list.is_none() {
            Box::pin(self.seal()).await?;
        }
        let Some(list) = self.list.filter(|_| !self.params.no_pin) else {
            return Ok(None);
        };
        let before = self.cluster.allocation(root).await;
        let pinned = Box::pin(self.pin_all(root, list)).await;
        if let (Err(error), Err(ClusterError::NotPinned)) = (&pinned, before) {
            tracing::warn!(%root, %error, "not all shards could be pinned: unpinning the others");
            if let Err(error) = Box::pin(self.cluster.unpin(root)).await {
                tracing::warn!(%root, %error, "the root stays pinned; unpin it to remove its shards");
            }
        }
        pinned.map(Some)
    }

    async fn pin_all(&self, root: Cid, list: Cid) -> Result<(Pin, Commit), ClusterError> {
        let mut meta = self.spec(root)?;
        meta.pin_type = PinType::Meta;
        meta.reference = Some(list);
        let (pin, _) = self.pin(meta, None).await?;

        let mut dag = self.spec(list)?;
        dag.pin_type = PinType::ClusterDag;
        dag.mode = PinMode::Direct;
        dag.replication = Replication::Everywhere;
        dag.name.push_str("-clusterDAG");
        dag.reference = Some(root);
        let (_, mut last) = self.pin(dag, None).await?;

        let mut before = None;
        for (n, shard) in self.done.iter().enumerate() {
            let mut spec = self.spec(shard.cid)?;
            spec.pin_type = PinType::Shard;
            spec.shard_size = shard.bytes;
            spec.size = shard.bytes;
            spec.name = format!("{}-shard-{n}", spec.name);
            spec.reference = before;
            before = Some(shard.cid);
            (_, last) = self.pin(spec, shard.allocations.clone()).await?;
        }
        Ok((pin, last))
    }

    fn spec(&self, cid: Cid) -> Result<PinSpec, ClusterError> {
        let factors = self.cluster.0.settings.default_factors;
        let spec = self.params.options.spec(cid, factors);
        spec.map_err(|e| ClusterError::Invalid(e.to_string()))
    }

    async fn pin(
        &self,
        spec: PinSpec,
        preset: Option<Vec<PeerId>>,
    ) -> Result<(Pin, Commit), ClusterError> {
        let spec = Box::new(spec);
        // Boxed: a write is a deep future, and this one is three deeper.
        let done = Box::pin(self.cluster.submit(Op::Pin { spec, preset })).await?;
        self.cluster.landed(done)
    }
}
