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

/// How blocks get to a destination.
#[derive(Debug)]
enum Way {
    /// Into this peer's own IPFS node.
    Here(mpsc::Sender<Batch>),
    /// To another peer, as frames: encoded once, whichever peers they go to.
    There(mpsc::Sender<Vec<Bytes>>),
}

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
    /// None once it was given everything.
    way: Option<Way>,
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
        let (way, task) = if peer == self.0.me {
            let (batches, queue) = mpsc::channel(BATCHES_AHEAD);
            let task = tokio::spawn(store_here(self.clone(), queue));
            (Way::Here(batches), task)
        } else {
            let (batches, queue) = mpsc::channel(BATCHES_AHEAD);
            let task = tokio::spawn(store_there(self.0.net.clone(), peer.clone(), queue));
            (Way::There(batches), task)
        };
        Destination {
            peer,
            way: Some(way),
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
        let (mut broken, mut frames) = (Vec::new(), None);
        for (at, destination) in self.destinations.iter().enumerate() {
            let taken = match &destination.way {
                Some(Way::Here(batches)) => batches.send(blocks.clone()).await.is_ok(),
                Some(Way::There(batches)) => {
                    let frames = frames.get_or_insert_with(|| encoded(&blocks)).clone();
                    batches.send(frames).await.is_ok()
                }
                None => false,
            };
            if !taken {
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
        // A closed queue tells the task that this was all.
        destination.way = None;
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
    mut queue: mpsc::Receiver<Vec<Bytes>>,
) -> Result<(), String> {
    let mut stream = net
        .open(&peer, Proto::Blocks)
        .await
        .map_err(|e| e.to_string())?;
    let mut ahead = 0;
    while let Some(frames) = queue.recv().await {
        for frame in frames {
            if ahead == BATCHES_AHEAD {
                acknowledged(&mut stream).await?;
                ahead -= 1;
            }
            let sent = stream.send_large(&frame).await;
            sent.map_err(|e| e.to_string())?;
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

/// A batch as frames, each within its bound.
fn encoded(batch: &[(Cid, Bytes)]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut frame = |blocks: Vec<BlockFrame>| frames.push(BlockBatch { blocks }.encode().into());
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    for (cid, data) in batch {
        if bytes + data.len() > limits::BLOCK_BATCH_BYTES_MAX && !blocks.is_empty() {
            frame(std::mem::take(&mut blocks));
            bytes = 0;
        }
        bytes += data.len();
        blocks.push(BlockFrame {
            cid: *cid,
            data: data.clone(),
        });
    }
    if !blocks.is_empty() {
        frame(blocks);
    }
    frames
}
