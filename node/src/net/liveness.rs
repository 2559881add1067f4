//! Notices a connection that has fallen silent.
//!
//! Peers ping each other every few seconds, so a live connection always brings bytes. One that
//! brings none for too long is cut below the multiplexer: its streams fail at once, also
//! when the other side, or the path to it, swallows everything and would never let a close through.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId,
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

/// Who is expected to be heard: members, and peers that have answered a ping (with the round
/// trip). Others are never cut for silence: a client may wait quietly for a long answer.
#[derive(Clone, Default)]
pub(super) struct Pings(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    answered: BTreeMap<PeerId, Duration>,
    members: BTreeSet<PeerId>,
}

impl fmt::Debug for Pings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pings")
    }
}

impl Pings {
    pub(super) fn answered(&self, peer: PeerId, rtt: Duration) {
        self.0.lock().answered.insert(peer, rtt);
    }

    pub(super) fn forget(&self, peer: &PeerId) {
        self.0.lock().answered.remove(peer);
    }

    pub(super) fn rtt(&self, peer: &PeerId) -> Option<Duration> {
        self.0.lock().answered.get(peer).copied()
    }

    pub(super) fn set_members(&self, members: BTreeSet<PeerId>) {
        self.0.lock().members = members;
    }

    fn expects(&self, peer: &PeerId) -> bool {
        let known = self.0.lock();
        known.members.contains(peer) || known.answered.contains_key(peer)
    }
}

/// Wraps a connection's pipe, then hands it to the multiplexer `M`.
#[derive(Clone)]
pub(super) struct Watched<M> {
    pub(super) muxer: M,
    pub(super) peer: PeerId,
    pub(super) pings: Pings,
    /// How long the connection to a peer that answers pings may bring nothing.
    pub(super) silence_max: Duration,
}

impl<M> Watched<M> {
    fn split<S>(self, pipe: S) -> (M, Live<S>) {
        let live = Live {
            pipe,
            peer: self.peer,
            pings: self.pings,
            silence_max: self.silence_max,
            deadline: Instant::now() + self.silence_max,
            timer: None,
        };
        (self.muxer, live)
    }
}

impl<M: UpgradeInfo> UpgradeInfo for Watched<M> {
    type Info = M::Info;
    type InfoIter = M::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.muxer.protocol_info()
    }
}

impl<S, M> InboundConnectionUpgrade<S> for Watched<M>
where
    M: InboundConnectionUpgrade<Live<S>>,
{
    type Output = M::Output;
    type Error = M::Error;
    type Future = M::Future;

    fn upgrade_inbound(self, pipe: S, info: Self::Info) -> Self::Future {
        let (muxer, live) = self.split(pipe);
        muxer.upgrade_inbound(live, info)
    }
}

impl<S, M> OutboundConnectionUpgrade<S> for Watched<M>
where
    M: OutboundConnectionUpgrade<Live<S>>,
{
    type Output = M::Output;
    type Error = M::Error;
    type Future = M::Future;

    fn upgrade_outbound(self, pipe: S, info: Self::Info) -> Self::Future {
        let (muxer, live) = self.split(pipe);
        muxer.upgrade_outbound(live, info)
    }
}

/// A pipe that fails once it has been silent too long.
pub(super) struct Live<S> {
    pipe: S,
    peer: PeerId,
    pings: Pings,
    silence_max: Duration,
    /// When the silence is too long; every byte moves it.
    deadline: Instant,
    /// Set for a deadline that may have moved since: it is checked when it fires, so that reading
    /// costs no timer operation.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Live<S> {
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let deadline = self.deadline;
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // The budget of cooperative scheduling must not make an expired timer look pending.
            let mut polled = std::pin::pin!(tokio::task::coop::unconstrained(timer.as_mut()));
            std::task::ready!(polled.as_mut().poll(cx));
            let now = Instant::now();
            if now >= self.deadline {
                if self.pings.expects(&self.peer) {
                    return Poll::Ready(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("nothing was heard for {} s", self.silence_max.as_secs_f64()),
                    ));
                }
                self.deadline = now + self.silence_max;
            }
            let deadline = self.deadline;
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(deadline);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Live<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.pipe).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.deadline = Instant::now() + self.silence_max;
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_silence(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Live<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A peer that hears nothing must not hold up the end of its connection.
        let closed = Pin::new(&mut self.pipe).poll_close(cx);
        if closed.is_pending() && Instant::now() >= self.deadline {
            return Poll::Ready(Ok(()));
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::AsyncReadExt;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    const SILENCE_MAX: Duration = Duration::from_secs(10);

    fn live<S>(pipe: S, peer: PeerId, pings: &Pings) -> Live<S> {
        Watched {
            muxer: (),
            peer,
            pings: pings.clone(),
            silence_max: SILENCE_MAX,
        }
        .split(pipe)
        .1
    }

    #[tokio::test(start_paused = true)]
    async fn silence_cuts_a_peer_that_answers_pings() {
        let (near, _far) = tokio::io::duplex(64);
        let (peer, pings) = (PeerId::random(), Pings::default());
        pings.answered(peer, Duration::from_millis(1));
        let started = Instant::now();
        let error = live(near.compat(), peer, &pings)
            .read(&mut [0; 8])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= SILENCE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_client_that_does_not_ping_is_left_alone() {
        let (near, far) = tokio::io::duplex(64);
        let pings = Pings::default();
        let mut live = live(near.compat(), PeerId::random(), &pings);
        let speak = async {
            tokio::time::sleep(SILENCE_MAX * 5).await;
            let mut far = far;
            tokio::io::AsyncWriteExt::write_all(&mut far, b"late")
                .await
                .unwrap();
            far
        };
        let mut buf = [0; 4];
        let (read, _far) = tokio::join!(live.read(&mut buf), speak);
        assert_eq!(read.unwrap(), 4);
    }
}
