//! The byte pipes the consensus runs on: the network layer's streams, or pipes in memory in tests.

use std::{collections::BTreeMap, io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{
    SinkExt, StreamExt,
    future::BoxFuture,
    stream::{SplitSink, SplitStream},
};
use ipfs_cluster_protocol::{
    codec,
    id::{Epoch, Incarnation, PeerId},
    limits,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{env::ByteStream, storage::Identity};

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// Log entries and heartbeats.
    Append,
    /// Votes, transfer, reads.
    Ask,
    /// One snapshot.
    Snapshot,
    /// Being admitted.
    Join,
}

/// A stream another peer opened.
pub(crate) struct Incoming {
    /// Who, as the connection was authenticated.
    pub(crate) peer: PeerId,
    /// The life it claims in this cluster, if it claims one.
    pub(crate) incarnation: Option<Incarnation>,
    /// Its bytes, the greeting of the network layer done.
    pub(crate) bytes: ByteStream,
}

/// Opens streams to other peers and tells the network layer who this peer and the members are.
pub(crate) trait Links: Send + Sync + 'static {
    /// This peer.
    fn local(&self) -> PeerId;
    /// Opens a stream; has a deadline of its own.
    fn open(&self, peer: &PeerId, channel: Channel) -> BoxFuture<'static, io::Result<ByteStream>>;
    /// Says who this peer is from now on.
    fn introduce(&self, identity: Identity);
    /// Says who the members are from now on.
    fn set_members(&self, members: BTreeMap<PeerId, Incarnation>);
    /// The highest epoch of this peer's cluster that a member has named, above its own.
    fn heard_epoch(&self) -> watch::Receiver<Epoch>;
    /// Says where a peer may be found (multiaddrs).
    fn add_addresses(&self, peer: &PeerId, addresses: Vec<String>);
    /// How long the last question to a peer and its answer took, as far as it is known.
    fn round_trip(&self, peer: &PeerId) -> Option<Duration>;
    /// Where a peer was found, or this peer listens (multiaddrs).
    fn addresses(&self, peer: &PeerId) -> Vec<String>;
}

type Frames = Framed<ByteStream, LengthDelimitedCodec>;

/// A byte pipe with frames on it.
pub(super) struct Pipe(Frames);

impl Pipe {
    pub(super) fn new(bytes: ByteStream) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(limits::FRAME_BYTES_MAX)
            .new_codec();
        Self(Framed::new(bytes, codec))
    }

    /// Opens a stream with frames.
    pub(super) async fn open(
        links: &dyn Links,
        peer: &PeerId,
        channel: Channel,
        deadline: Instant,
    ) -> io::Result<Self> {
        let opened = timeout_at(deadline, links.open(peer, channel)).await;
        Ok(Self::new(opened.map_err(|_| timed_out())??))
    }

    /// Sends a message.
    pub(super) async fn send<T: Serialize + Sync>(
        &mut self,
        message: &T,
        deadline: Instant,
    ) -> io::Result<()> {
        self.feed(message, deadline).await?;
        self.flush(deadline).await
    }

    /// Queues a message. When it returns, the whole frame is on its way; when it is cancelled or
    /// fails, nothing of it is.
    pub(super) async fn feed<T: Serialize + Sync>(
        &mut self,
        message: &T,
        deadline: Instant,
    ) -> io::Result<()> {
        let frame = Bytes::from(codec::encode(message));
        timeout_at(deadline, self.0.feed(frame))
            .await
            .map_err(|_| timed_out())?
    }

    /// Sends what is queued. A later flush goes on where a cancelled one stopped.
    pub(super) async fn flush(&mut self, deadline: Instant) -> io::Result<()> {
        timeout_at(deadline, SinkExt::<Bytes>::flush(&mut self.0))
            .await
            .map_err(|_| timed_out())?
    }

    /// The next frame; an ended stream is an error. Cancel-safe.
    pub(super) async fn recv(&mut self) -> io::Result<BytesMut> {
        match self.0.next().await {
            Some(frame) => frame,
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The next message, due until `deadline`. Cancel-safe.
    pub(super) async fn recv_msg<T: DeserializeOwned>(
        &mut self,
        deadline: Instant,
    ) -> io::Result<T> {
        let frame = timeout_at(deadline, self.recv())
            .await
            .map_err(|_| timed_out())??;
        codec::decode(&frame, limits::FRAME_BYTES_MAX)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// Both directions, for concurrent use.
    pub(super) fn split(self) -> (SplitSink<Frames, Bytes>, SplitStream<Frames>) {
        self.0.split()
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// How long moving this many bytes may take: our own deadline, not openraft's heartbeat interval,
/// or one slow sync would tear a stream down.
pub(super) fn allowance(bytes: usize) -> Duration {
    let micros = u64::try_from(bytes).unwrap_or(u64::MAX);
    Duration::from_secs(2) + Duration::from_micros(micros)
}
