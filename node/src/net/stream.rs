//! A stream to another peer: frames with a length in front, typed messages, or raw bytes.

use std::{fmt, io, pin::Pin, task, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{SinkExt, StreamExt as _};
use ipfs_cluster_protocol::{
    codec,
    hello::Hello,
    id::PeerId,
    limits::{self, FRAME_BYTES_MAX},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf},
    time::timeout,
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::{error::StreamError, proto::Proto};
use crate::env::ByteStream;

/// How long a frame may wait for the other side to take it.
const SEND_DEADLINE: Duration = Duration::from_secs(30);

/// A stream to another peer whose `Hello` was accepted.
///
/// Every send has a deadline of its own. A receive waits as long as the connection lives (a silent
/// one is cut within seconds); where an answer is due, use the variants with a deadline.
#[derive(Debug)]
pub struct PeerStream {
    /// Who is at the other end, as the connection was authenticated.
    pub peer: PeerId,
    /// What it said of itself; the default for [`Proto::Http`], which has no `Hello`.
    pub hello: Hello,
    /// What the stream is for.
    pub proto: Proto,
    sender: PeerSender,
    receiver: PeerReceiver,
}

/// The sending half of a [`PeerStream`].
pub struct PeerSender(FramedWrite<WriteHalf<ByteStream>, LengthDelimitedCodec>);

/// The receiving half of a [`PeerStream`].
pub struct PeerReceiver(FramedRead<ReadHalf<ByteStream>, LengthDelimitedCodec>);

impl fmt::Debug for PeerSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerSender")
    }
}

impl fmt::Debug for PeerReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerReceiver")
    }
}

impl PeerSender {
    /// Sends a frame and flushes.
    pub async fn send(&mut self, frame: impl Into<Bytes>) -> Result<(), StreamError> {
        self.feed(frame).await?;
        self.flush().await
    }

    /// Queues a frame; it leaves with the next flush, or when enough has gathered.
    pub async fn feed(&mut self, frame: impl Into<Bytes>) -> Result<(), StreamError> {
        let frame = frame.into();
        if frame.len() > FRAME_BYTES_MAX {
            return Err(StreamError::TooLarge {
                len: frame.len(),
                max: FRAME_BYTES_MAX,
            });
        }
        within(self.0.feed(frame)).await
    }

    /// Sends a large frame without copying it first. One that was interrupted may have left in part:
    /// nothing can be sent after it.
    pub async fn send_large(&mut self, frame: &[u8]) -> Result<(), StreamError> {
        let max = FRAME_BYTES_MAX;
        let len = frame.len();
        let announced = u32::try_from(len).ok().filter(|_| len <= max);
        let announced = announced.ok_or(StreamError::TooLarge { len, max })?;
        self.flush().await?;
        let stream = self.0.get_mut();
        within(async {
            stream.write_all(&announced.to_be_bytes()).await?;
            stream.write_all(frame).await?;
            stream.flush().await
        })
        .await
    }

    /// Sends what is queued.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        within(SinkExt::<Bytes>::flush(&mut self.0)).await
    }

    /// Encodes and sends a message.
    pub async fn send_msg<T: Serialize + Sync>(&mut self, message: &T) -> Result<(), StreamError> {
        self.send(codec::encode(message)).await
    }

    /// Says that nothing more will be sent. The other side's frames still arrive.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        within(SinkExt::<Bytes>::close(&mut self.0)).await
    }
}

async fn within(sent: impl Future<Output = io::Result<()>> + Send) -> Result<(), StreamError> {
    match timeout(SEND_DEADLINE, sent).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StreamError::Stalled(SEND_DEADLINE.as_secs())),
    }
}

impl PeerReceiver {
    /// The next frame; none when the other side has finished. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, StreamError> {
        Ok(self.0.next().await.transpose()?.map(BytesMut::freeze))
    }

    /// The next message; none when the other side has finished. Cancel-safe.
    pub async fn recv_msg<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        match self.recv().await? {
            Some(frame) => Ok(Some(codec::decode(&frame, FRAME_BYTES_MAX)?)),
            None => Ok(None),
        }
    }

    /// A message that is due within `deadline`. Cancel-safe.
    pub async fn recv_msg_within<T: DeserializeOwned>(
        &mut self,
        deadline: Duration,
    ) -> Result<T, StreamError> {
        match timeout(deadline, self.recv_msg()).await {
            Ok(message) => message?.ok_or(StreamError::Ended),
            Err(_) => Err(StreamError::TimedOut),
        }
    }
}

impl PeerStream {
    /// Wraps a stream on which nothing was said yet: frames are small until [`Self::introduced`].
    pub(super) fn new(peer: PeerId, proto: Proto, bytes: ByteStream) -> Self {
        let (read, write) = tokio::io::split(bytes);
        let codec = |max| {
            LengthDelimitedCodec::builder()
                .max_frame_length(max)
                .new_codec()
        };
        Self {
            peer,
            proto,
            hello: Hello::default(),
            sender: PeerSender(FramedWrite::new(write, codec(FRAME_BYTES_MAX))),
            receiver: PeerReceiver(FramedRead::new(read, codec(limits::HELLO_BYTES_MAX))),
        }
    }

    /// The other side was accepted as what it says: from here on frames have their full size.
    pub(super) fn introduced(mut self, hello: Hello) -> Self {
        self.hello = hello;
        let codec = self.receiver.0.decoder_mut();
        codec.set_max_frame_length(FRAME_BYTES_MAX);
        self
    }

    /// Sends a frame and flushes.
    pub async fn send(&mut self, frame: impl Into<Bytes>) -> Result<(), StreamError> {
        self.sender.send(frame).await
    }

    /// Sends a large frame: see [`PeerSender::send_large`].
    pub async fn send_large(&mut self, frame: &[u8]) -> Result<(), StreamError> {
        self.sender.send_large(frame).await
    }

    /// The next frame; none when the other side has finished. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, StreamError> {
        self.receiver.recv().await
    }

    /// Encodes and sends a message.
    pub async fn send_msg<T: Serialize + Sync>(&mut self, message: &T) -> Result<(), StreamError> {
        self.sender.send_msg(message).await
    }

    /// The next message; none when the other side has finished. Cancel-safe.
    pub async fn recv_msg<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        self.receiver.recv_msg().await
    }

    /// A message that is due within `deadline`. Cancel-safe.
    pub async fn recv_msg_within<T: DeserializeOwned>(
        &mut self,
        deadline: Duration,
    ) -> Result<T, StreamError> {
        self.receiver.recv_msg_within(deadline).await
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        self.sender.finish().await
    }

    /// Both directions apart, for tasks of their own.
    #[must_use]
    pub fn split(self) -> (PeerSender, PeerReceiver) {
        (self.sender, self.receiver)
    }

    /// The bytes behind the frames, for protocols that bring their own framing.
    #[must_use]
    pub fn into_inner(self) -> ByteStream {
        let early = self.receiver.0.read_buffer().clone().freeze();
        let bytes = self
            .receiver
            .0
            .into_inner()
            .unsplit(self.sender.0.into_inner());
        if early.is_empty() {
            return bytes;
        }
        Box::new(Early { early, bytes })
    }
}

/// A stream of which some bytes were read ahead.
struct Early {
    early: Bytes,
    bytes: ByteStream,
}

impl AsyncRead for Early {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> task::Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.bytes).poll_read(cx, buf);
        }
        let n = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.copy_to_bytes(n));
        task::Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Early {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::identity::Identity;
    use tokio::io::AsyncReadExt as _;

    fn pair() -> (PeerStream, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let peer = Identity::generate().peer_id();
        let stream = PeerStream::new(peer, Proto::Rpc, Box::new(near));
        (stream, far)
    }

    #[tokio::test]
    async fn a_stranger_cannot_announce_a_large_frame() {
        let (mut stream, mut far) = pair();
        far.write_all(&u32::to_be_bytes(1024 * 1024)).await.unwrap();
        assert!(matches!(stream.recv().await, Err(StreamError::Io(_))));
    }

    #[tokio::test]
    async fn a_frame_over_the_bound_is_refused_on_both_sides() {
        let (stream, mut far) = pair();
        let mut stream = stream.introduced(Hello::default());
        let large = vec![0; FRAME_BYTES_MAX + 1];
        let sent = stream.send_large(&large).await;
        assert!(matches!(sent, Err(StreamError::TooLarge { .. })));
        let sent = stream.send(large).await;
        assert!(matches!(sent, Err(StreamError::TooLarge { .. })));
        far.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert!(matches!(stream.recv().await, Err(StreamError::Io(_))));
    }

    #[tokio::test]
    async fn frames_of_both_kinds_keep_their_order() {
        let (near, far) = pair();
        let peer = near.peer.clone();
        let mut far =
            PeerStream::new(peer, Proto::Rpc, Box::new(far)).introduced(near.hello.clone());
        let (mut sender, _near) = near.introduced(Hello::default()).split();
        let large = vec![7; 1_000_000];
        let sent = async {
            sender.feed("first").await.unwrap();
            sender.send_large(&large).await.unwrap();
            sender.send("last").await.unwrap();
        };
        let received = async {
            let mut frames = vec![];
            for _ in 0..3 {
                frames.push(far.recv().await.unwrap().unwrap());
            }
            frames
        };
        let ((), frames) = tokio::join!(sent, received);
        assert!(frames == ["first".as_bytes(), &large, b"last"]);
    }

    #[tokio::test]
    async fn bytes_read_ahead_are_not_lost_to_a_raw_reader() {
        let (mut stream, mut far) = pair();
        far.write_all(b"\0\0\0\x01xraw bytes").await.unwrap();
        assert_eq!(stream.recv().await.unwrap().unwrap(), "x");
        drop(far);
        let mut rest = Vec::new();
        stream.into_inner().read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"raw bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_due_message_and_a_stuck_send_have_deadlines() {
        let (stream, _far) = pair();
        let mut stream = stream.introduced(Hello::default());
        let due = stream.recv_msg_within::<u64>(Duration::from_secs(2)).await;
        assert!(matches!(due, Err(StreamError::TimedOut)));
        let stuck = stream.send(vec![0; 1024 * 1024]).await;
        assert!(matches!(stuck, Err(StreamError::Stalled(_))));
    }
}
