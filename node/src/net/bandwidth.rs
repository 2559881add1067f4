//! Counts what goes over the swarm: all of it below the encryption, and what is on the cluster's own
//! streams by protocol.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ipfs_cluster_protocol::api::bandwidth::{Bandwidth, BandwidthStats};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::proto::Proto;
use crate::env::{ByteStream, RawPipe};

/// Counts for the whole swarm. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Meters(Arc<Mutex<BTreeMap<Option<Proto>, Meter>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    input: Rate,
    output: Rate,
}

/// A total, and how fast it grows: the mean of the last full second that saw anything, forgotten
/// after two silent ones.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    total: u64,
    /// Since when `fresh` is counted.
    since: Option<Instant>,
    fresh: u64,
    per_second: f64,
}

impl Rate {
    fn add(&mut self, bytes: usize, now: Instant) {
        self.roll(now);
        self.total += bytes as u64;
        self.fresh += bytes as u64;
    }

    fn roll(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds >= 1.0 {
            #[allow(clippy::cast_precision_loss, reason = "a rate is a measurement")]
            let rate = self.fresh as f64 / seconds;
            self.per_second = rate;
            self.fresh = 0;
            self.since = Some(now);
        }
    }
}

impl Meters {
    fn count(&self, proto: Option<Proto>, input: usize, output: usize) {
        let now = Instant::now();
        let mut meters = self.0.lock();
        let meter = meters.entry(proto).or_default();
        meter.input.add(input, now);
        meter.output.add(output, now);
    }

    /// What there is to show.
    pub(super) fn stats(&self) -> Bandwidth {
        let now = Instant::now();
        let mut all = Bandwidth::new();
        let (mut own, mut whole) = (BandwidthStats::default(), BandwidthStats::default());
        for (proto, meter) in self.0.lock().iter_mut() {
            meter.input.roll(now);
            meter.output.roll(now);
            let stats = BandwidthStats {
                total_in: meter.input.total,
                total_out: meter.output.total,
                rate_in: meter.input.per_second,
                rate_out: meter.output.per_second,
            };
            match proto {
                None => whole = stats,
                Some(proto) => {
                    own.total_in += stats.total_in;
                    own.total_out += stats.total_out;
                    own.rate_in += stats.rate_in;
                    own.rate_out += stats.rate_out;
                    all.insert(proto.name().to_owned(), stats);
                }
            }
        }
        let rest = BandwidthStats {
            total_in: whole.total_in.saturating_sub(own.total_in),
            total_out: whole.total_out.saturating_sub(own.total_out),
            rate_in: (whole.rate_in - own.rate_in).max(0.0),
            rate_out: (whole.rate_out - own.rate_out).max(0.0),
        };
        all.insert(String::new(), rest);
        all
    }

    /// A stream of this protocol, counted.
    pub(super) fn stream(&self, proto: Proto, stream: ByteStream) -> ByteStream {
        Box::new(Counted {
            inner: stream,
            meters: self.clone(),
            proto: Some(proto),
        })
    }

    /// A raw pipe, counted.
    pub(super) fn pipe(&self, pipe: RawPipe) -> RawPipe {
        Box::new(Counted {
            inner: pipe,
            meters: self.clone(),
            proto: None,
        })
    }
}

struct Counted<S> {
    inner: S,
    meters: Meters,
    proto: Option<Proto>,
}

impl<S> Counted<S> {
    fn sent(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &polled {
            self.meters.count(self.proto, 0, *n);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, out);
        let read = out.filled().len() - before;
        if read > 0 {
            self.meters.count(self.proto, read, 0);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, data);
        self.sent(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: futures::AsyncRead + Unpin> futures::AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, out);
        if let Poll::Ready(Ok(n)) = &polled {
            self.meters.count(self.proto, *n, 0);
        }
        polled
    }
}

impl<S: futures::AsyncWrite + Unpin> futures::AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, data);
        self.sent(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncWriteExt, time::advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_are_counted_by_protocol_and_rates_are_forgotten() {
        let meters = Meters::default();
        let (near, far) = tokio::io::duplex(64);
        let mut near = meters.stream(Proto::Rpc, Box::new(near));
        near.write_all(b"12345").await.unwrap();
        meters.count(None, 3, 12);
        advance(Duration::from_secs(1)).await;
        let stats = meters.stats();
        let rpc = stats[Proto::Rpc.name()];
        assert_eq!((rpc.total_in, rpc.total_out), (0, 5));
        assert!((rpc.rate_out - 5.0).abs() < 1e-9, "{rpc:?}");
        assert_eq!((stats[""].total_in, stats[""].total_out), (3, 7));
        advance(Duration::from_secs(2)).await;
        assert!(meters.stats()[Proto::Rpc.name()].rate_out.abs() < 1e-9);
        drop(far);
    }
}
