//! A pipe that counts what is written to it and may break on the way.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::env::ByteStream;

/// What has been written to all pipes of one kind, and where the next of them breaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    pub(super) written: Arc<AtomicUsize>,
    /// Bytes that may still be written before a pipe breaks; 0 when none does.
    pub(super) cut_after: Arc<AtomicUsize>,
    pub(super) cuts: Arc<AtomicUsize>,
}

/// The pipe.
pub(super) struct Metered {
    pub(super) pipe: ByteStream,
    pub(super) meter: Meter,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.pipe).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = written {
            let meter = &self.meter;
            meter.written.fetch_add(n, Ordering::Relaxed);
            let left = meter.cut_after.load(Ordering::Relaxed);
            if left > 0 {
                let left = left.saturating_sub(n);
                meter.cut_after.store(left, Ordering::Relaxed);
                if left == 0 {
                    meter.cuts.fetch_add(1, Ordering::Relaxed);
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
