//! Adding content: place first, send the blocks to every destination at once, pin at the end.

use std::time::Duration;

use bytes::Bytes;
use ipfs_cluster_protocol::{
    api::add::AddParams,
    blocks::{BlockAck, BlockBatch, BlockFrame},
    id::{Cid, PeerId},
    limits,
    pin::{Holding, Pin, PinSpec},
    rpc::Op,
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Cluster, error::ClusterError, pins::Commit};
use crate::{
    ipfs::upload::Upload,
    net::{Net, PeerStream, Proto},
};

/// How long a destination may take to store one batch.
const STORE_MAX: Duration = Duration::from_secs(60);
/// Batches on their way to one destination.
const BATCHES_AHEAD: usize = 4;

type Batch = Vec<(Cid, Bytes)>;

/// An add under way. Dropped before [`AddSession::finish`], it leaves nothing pinned.
#[derive(Debug)]
pub struct AddSession {
    cluster: Cluster,
    params: AddParams,
    allocations: Vec<PeerId>,
    destinations: Vec<Destination>,
    failed: Vec<(PeerId, String)>,
}

#[derive(Debug)]
struct Destination {
    peer: PeerId,
    batches: mpsc::Sender<Batch>,
    task: JoinHandle<Result<(), String>>,
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Decides who shall hold the content and opens a way to each.
    /// `bytes` is what the content is expected to take, 0 where nobody knows.
    pub async fn add_session(
        &self,
        params: AddParams,
        bytes: u64,
    ) -> Result<AddSession, ClusterError> {
        self.may_write()?;
        // The CID is not known yet; placement does not depend on it but for ties.
        let spec = params
            .options
            .spec(self.0.settings.unknown_cid, self.0.settings.default_factors)
            .map_err(|e| ClusterError::Invalid(e.to_string()))?;
        let mut allocations = match spec.holding() {
            Holding::Allocated { .. } => self.0.leader.place(&spec, &[], bytes).await?,
            Holding::Everywhere | Holding::Nobody => Vec::new(),
        };
        let me = &self.0.me;
        if params.local && !allocations.is_empty() && spec.user_allocations.is_empty() {
            // The contacted peer takes the place of the last choice.
            if !allocations.contains(me) {
                allocations.pop();
                allocations.insert(0, me.clone());
            }
        }
        let peers = match (&allocations[..], params.local) {
            (_, true) => vec![me.clone()],
            ([], false) => self.live_members().await?,
            (chosen, false) => chosen.to_vec(),
        };
        let destinations = peers
            .into_iter()
            .map(|peer| self.destination(peer))
            .collect();
        Ok(AddSession {
            cluster: self.clone(),
            params,
            allocations,
            destinations,
            failed: Vec::new(),
        })
    }

    /// Members that are heard of.
    async fn live_members(&self) -> Result<Vec<PeerId>, ClusterError> {
        let members = self.members().await?.into_iter().map(|m| m.peer);
        let lapsed = self.0.monitor.lapsed();
        Ok(members.filter(|p| !lapsed.contains(p)).collect())
    }

    fn destination(&self, peer: PeerId) -> Destination {
        let (batches, queue) = mpsc::channel(BATCHES_AHEAD);
        let task = if peer == self.0.me {
            tokio::spawn(store_here(self.clone(), queue))
        } else {
            tokio::spawn(store_there(self.0.net.clone(), peer.clone(), queue))
        };
        Destination {
            peer,
            batches,
            task,
        }
    }
}

impl AddSession {
    /// Peers that the blocks go to.
    pub fn allocations(&self) -> Vec<PeerId> {
        self.destinations.iter().map(|d| d.peer.clone()).collect()
    }

    /// Hands blocks to every destination; waits while the slowest has too many before it. One that
    /// fails is left behind, and fetches the content later; when all have failed, so has the add.
    pub async fn put(&mut self, blocks: Vec<(Cid, Bytes)>) -> Result<(), ClusterError> {
        let mut broken = Vec::new();
        for (at, destination) in self.destinations.iter().enumerate() {
            if destination.batches.send(blocks.clone()).await.is_err() {
                broken.push(at);
            }
        }
        for at in broken.into_iter().rev() {
            let destination = self.destinations.remove(at);
            self.settle(destination).await;
        }
        self.check()
    }

    /// Waits until every destination has stored everything, and pins the root.
    /// With `no-pin`, there is no pin to tell of.
    /// The DAG below the root takes so many bytes.
    pub async fn finish(
        mut self,
        root: Cid,
        bytes: u64,
    ) -> Result<Option<(Pin, Commit)>, ClusterError> {
        let preset = self.stored(root).await?;
        if self.params.no_pin {
            return Ok(None);
        }
        let factors = self.cluster.0.settings.default_factors;
        let spec = self.params.options.spec(root, factors);
        let mut spec: PinSpec = spec.map_err(|e| ClusterError::Invalid(e.to_string()))?;
        spec.size = bytes;
        let done = self
            .cluster
            .submit(Op::Pin {
                spec: Box::new(spec),
                preset,
            })
            .await?;
        self.cluster.landed(done).map(Some)
    }

    /// Waits until every destination has stored everything; who is to be allocated to it.
    pub(super) async fn stored(&mut self, root: Cid) -> Result<Option<Vec<PeerId>>, ClusterError> {
        let mut stored = 0;
        for destination in std::mem::take(&mut self.destinations) {
            stored += usize::from(self.settle(destination).await);
        }
        if stored == 0 {
            self.check()?;
        }
        for (peer, reason) in &self.failed {
            tracing::warn!(%peer, %root, reason, "not added there; it will fetch the content");
        }
        Ok(Some(self.allocations.clone()).filter(|a| !a.is_empty()))
    }

    /// Whether the destination stored everything it was given.
    async fn settle(&mut self, mut destination: Destination) -> bool {
        // Closing the queue tells the task that this was all.
        destination.batches = mpsc::channel(1).0;
        let outcome = (&mut destination.task).await;
        match outcome.unwrap_or_else(|e| Err(e.to_string())) {
            Ok(()) => true,
            Err(reason) => {
                self.failed.push((destination.peer.clone(), reason));
                false
            }
        }
    }

    fn check(&self) -> Result<(), ClusterError> {
        if !self.destinations.is_empty() {
            return Ok(());
        }
        let reasons: Vec<String> = self
            .failed
            .iter()
            .map(|(peer, reason)| format!("{peer}: {reason}"))
            .collect();
        Err(ClusterError::Unavailable(format!(
            "no peer took the blocks: {}",
            reasons.join("; ")
        )))
    }
}

async fn store_here(cluster: Cluster, mut queue: mpsc::Receiver<Batch>) -> Result<(), String> {
    let upload = Upload::begin(cluster.ipfs());
    while let Some(batch) = queue.recv().await {
        let stored = cluster.uploads().put(&upload, batch).await;
        stored.map_err(|e| e.to_string())?;
    }
    upload.complete();
    Ok(())
}

async fn store_there(
    net: Net,
    peer: PeerId,
    mut queue: mpsc::Receiver<Batch>,
) -> Result<(), String> {
    let mut stream = net
        .open(&peer, Proto::Blocks)
        .await
        .map_err(|e| e.to_string())?;
    let mut ahead = 0;
    while let Some(batch) = queue.recv().await {
        for batch in frames(batch) {
            if ahead == BATCHES_AHEAD {
                acknowledged(&mut stream).await?;
                ahead -= 1;
            }
            stream.send_msg(&batch).await.map_err(|e| e.to_string())?;
            ahead += 1;
        }
    }
    for _ in 0..ahead {
        acknowledged(&mut stream).await?;
    }
    let end = BlockBatch { blocks: Vec::new() };
    stream.send_msg(&end).await.map_err(|e| e.to_string())
}

async fn acknowledged(stream: &mut PeerStream) -> Result<(), String> {
    match stream.recv_msg_within::<BlockAck>(STORE_MAX).await {
        Ok(BlockAck::Stored) => Ok(()),
        Ok(BlockAck::Failed(reason)) => Err(reason),
        Err(e) => Err(e.to_string()),
    }
}

/// Cuts a batch so that each frame stays within its bound.
fn frames(batch: Batch) -> Vec<BlockBatch> {
    let mut frames = Vec::new();
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    for (cid, data) in batch {
        if bytes + data.len() > limits::BLOCK_BATCH_BYTES_MAX && !blocks.is_empty() {
            frames.push(BlockBatch {
                blocks: std::mem::take(&mut blocks),
            });
            bytes = 0;
        }
        bytes += data.len();
        blocks.push(BlockFrame { cid, data });
    }
    if !blocks.is_empty() {
        frames.push(BlockBatch { blocks });
    }
    frames
}
