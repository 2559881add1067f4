//! The destination's side of an add: stores what arrives, and says so only then.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use ipfs_cluster_protocol::{
    blocks::{BlockAck, BlockBatch},
    content::hash::verify,
    id::Cid,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::Cluster;
use crate::{
    api::BlockCounts,
    ipfs::{IpfsError, upload::Upload},
    net::PeerStream,
    worker::Stop,
};

/// How long a sender whose blocks were refused is listened to.
const HEAR_OUT_MAX: Duration = Duration::from_secs(10);

/// What uploads brought to this peer's IPFS node since the start.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    puts: AtomicU64,
    errors: AtomicU64,
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Uploads {
    /// Stores blocks and counts them.
    pub(super) async fn put(
        &self,
        upload: &Upload,
        batch: Vec<(Cid, Bytes)>,
    ) -> Result<(), IpfsError> {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let blocks = count(batch.len());
        let bytes = batch.iter().map(|(_, data)| count(data.len())).sum();
        self.puts.fetch_add(blocks, Ordering::Relaxed);
        let stored = upload.put(batch).await;
        let (blocks_of, bytes_of) = match stored {
            Ok(()) => (&self.blocks, Some(&self.bytes)),
            Err(_) => (&self.errors, None),
        };
        blocks_of.fetch_add(blocks, Ordering::Relaxed);
        if let Some(total) = bytes_of {
            total.fetch_add(bytes, Ordering::Relaxed);
        }
        stored
    }

    /// What was counted up to now.
    pub(super) fn read(&self) -> BlockCounts {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        BlockCounts {
            put: read(&self.puts),
            errors: read(&self.errors),
            added: read(&self.blocks),
            bytes: read(&self.bytes),
        }
    }
}

/// Serves adds of other peers until this one stops.
pub(crate) async fn serve(
    cluster: Cluster,
    mut streams: mpsc::Receiver<PeerStream>,
    mut stop: Stop,
) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            Some(_) = running.join_next() => {}
            stream = streams.recv() => {
                let Some(stream) = stream else { return };
                let cluster = cluster.clone();
                running.spawn(async move {
                    let peer = stream.peer.clone();
                    if let Err(reason) = receive(&cluster, stream).await {
                        tracing::debug!(%peer, reason, "block stream ended early");
                    }
                });
            }
        }
    }
}

/// Reads what is on its way. Who sends looks for answers only between batches: should the stream end
/// in the middle of one, it would learn that the stream broke, and not why.
async fn hear_out(stream: &mut PeerStream) {
    let rest = async {
        while let Ok(Some(batch)) = stream.recv_msg::<BlockBatch>().await
            && !batch.blocks.is_empty()
        {}
    };
    // A sender that neither goes on nor ends is not waited for.
    let _ = timeout(HEAR_OUT_MAX, rest).await;
}

/// Stores what another peer sent, if it is what it is called.
async fn store(cluster: &Cluster, upload: &Upload, batch: BlockBatch) -> Result<(), IpfsError> {
    for block in &batch.blocks {
        verify(&block.cid, &block.data)?;
    }
    let blocks = batch.blocks.into_iter().map(|b| (b.cid, b.data)).collect();
    cluster.uploads().put(upload, blocks).await
}

async fn receive(cluster: &Cluster, mut stream: PeerStream) -> Result<(), String> {
    let upload = Upload::begin(cluster.ipfs());
    loop {
        let batch = stream
            .recv_msg::<BlockBatch>()
            .await
            .map_err(|e| e.to_string())?;
        let Some(batch) = batch else {
            return Err("the sender is gone".to_owned());
        };
        if batch.blocks.is_empty() {
            upload.complete();
            return Ok(());
        }
        let ack = match store(cluster, &upload, batch).await {
            Ok(()) => BlockAck::Stored,
            Err(e) => BlockAck::Failed(e.to_string()),
        };
        stream.send_msg(&ack).await.map_err(|e| e.to_string())?;
        if let BlockAck::Failed(reason) = ack {
            hear_out(&mut stream).await;
            return Err(reason);
        }
    }
}
