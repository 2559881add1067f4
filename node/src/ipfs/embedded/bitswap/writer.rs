//! Sends to one peer what its outbox holds, over one stream that is opened when needed.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use ipfs_cluster_protocol::{
    id::{Cid, PeerId},
    limits::BITSWAP_BATCH_BYTES_MAX,
};

use super::{
    Version,
    message::Message,
    outbox::{Batch, Outbox},
    server::Answer,
    wire,
};
use crate::{env::RawPipe, ipfs::embedded::store::Store};

/// How long after a failure the next stream is opened.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens a stream to a connected peer.
pub(in crate::ipfs::embedded) trait OpenStream:
    Send + Sync + 'static
{
    fn open(&self, peer: PeerId) -> BoxFuture<'static, io::Result<(Version, RawPipe)>>;
}

/// Runs until it is dropped, with its peer.
pub(super) async fn run(
    peer: PeerId,
    open: Arc<dyn OpenStream>,
    store: Store,
    outbox: Arc<Outbox>,
) {
    let mut stream = None;
    loop {
        let batch = outbox.take().await;
        let message = compose(&peer, batch, &store, &outbox).await;
        if let Err(error) = send(&peer, &*open, &mut stream, &message).await {
            // What was lost is asked for again when its block does not come.
            tracing::debug!(%peer, %error, "cannot send a bitswap message");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A message of what fits; the rest goes back.
async fn compose(peer: &PeerId, batch: Batch, store: &Store, outbox: &Outbox) -> Message {
    let mut message = Message {
        entries: batch.entries,
        ..Message::default()
    };
    let mut bytes = 0;
    let mut answers = batch.answers.into_iter();
    while bytes < BITSWAP_BATCH_BYTES_MAX
        && let Some((cid, answer)) = answers.next()
    {
        match answer {
            Answer::Have => message.presences.push((cid, true)),
            Answer::Lacks => message.presences.push((cid, false)),
            Answer::Block => match read(peer, &cid, store).await {
                Some(data) => {
                    bytes += data.len();
                    message.blocks.push((cid, data));
                }
                None => message.presences.push((cid, false)),
            },
        }
    }
    if answers.len() > 0 {
        outbox.put_back(answers);
    }
    message
}

/// A block to send, if it is still here and whole.
async fn read(peer: &PeerId, cid: &Cid, store: &Store) -> Option<Bytes> {
    match store.get(cid).await {
        Ok(block) => block,
        Err(error) => {
            tracing::error!(%peer, %error, "cannot send a block");
            None
        }
    }
}

/// Over the open stream, or, if that fails, over a new one.
async fn send(
    peer: &PeerId,
    open: &dyn OpenStream,
    stream: &mut Option<(Version, RawPipe)>,
    message: &Message,
) -> io::Result<()> {
    if let Some((version, pipe)) = stream {
        match wire::write(pipe, &message.encode(*version)).await {
            Ok(()) => return Ok(()),
            Err(_) => *stream = None,
        }
    }
    let (version, mut pipe) = open.open(peer.clone()).await?;
    wire::write(&mut pipe, &message.encode(version)).await?;
    *stream = Some((version, pipe));
    Ok(())
}
