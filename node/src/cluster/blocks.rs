//! The destination's side of an add: stores what arrives, and says so only then.

use ipfs_cluster_protocol::blocks::{BlockAck, BlockBatch};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{ipfs::SharedIpfs, net::PeerStream, worker::Stop};

/// Serves adds of other peers until this one stops.
pub(crate) async fn serve(
    ipfs: SharedIpfs,
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
                let ipfs = ipfs.clone();
                running.spawn(async move {
                    let peer = stream.peer.clone();
                    if let Err(reason) = receive(&ipfs, stream).await {
                        tracing::debug!(%peer, reason, "block stream ended early");
                    }
                });
            }
        }
    }
}

async fn receive(ipfs: &SharedIpfs, mut stream: PeerStream) -> Result<(), String> {
    loop {
        let batch = stream
            .recv_msg::<BlockBatch>()
            .await
            .map_err(|e| e.to_string())?;
        let Some(batch) = batch.filter(|batch| !batch.blocks.is_empty()) else {
            return Ok(());
        };
        let blocks = batch.blocks.into_iter().map(|b| (b.cid, b.data)).collect();
        let ack = match ipfs.block_put(blocks).await {
            Ok(()) => BlockAck::Stored,
            Err(e) => BlockAck::Failed(e.to_string()),
        };
        stream.send_msg(&ack).await.map_err(|e| e.to_string())?;
        if let BlockAck::Failed(reason) = ack {
            return Err(reason);
        }
    }
}
