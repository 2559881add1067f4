//! The client's side of a connection: its requests' framing, and how long a head, a request and an
//! answer may take.
//!
//! How long a connection may lie idle is hyper's business.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{framing::Framing, server::ServerLimits};
use crate::env::ByteStream;

const READ_BYTES: usize = 16 * 1024;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request's head to its last.
    head: Duration,
    /// From there to the last byte of its body.
    request: Option<Duration>,
    /// From the last byte of a head until the answer is out.
    answer: Option<Duration>,
}

impl From<ServerLimits> for Patience {
    fn from(limits: ServerLimits) -> Self {
        Self {
            head: limits.head_timeout,
            request: limits.read_timeout,
            answer: limits.write_timeout,
        }
    }
}

/// A point in time that something must not go beyond, if it is under way.
#[derive(Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn start(&mut self, patience: Duration) {
        let at = Instant::now() + patience;
        self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
    }

    fn stop(&mut self) {
        self.0 = None;
    }

    fn passed(&mut self, cx: &mut Context<'_>) -> bool {
        self.0
            .as_mut()
            .is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
    }
}

/// A pipe to a client.
pub(super) struct Inbound {
    pipe: ByteStream,
    framing: Framing,
    /// Read from the client, not yet by hyper.
    ready: BytesMut,
    patience: Patience,
    /// For the head that has begun.
    head: Deadline,
    /// For the request that has begun.
    request: Deadline,
    /// For the answer to the request whose head came last.
    answer: Deadline,
}

impl Inbound {
    pub(super) fn new(pipe: ByteStream, patience: Patience) -> Self {
        Self {
            pipe,
            framing: Framing::new(),
            ready: BytesMut::new(),
            patience,
            head: Deadline::default(),
            request: Deadline::default(),
            answer: Deadline::default(),
        }
    }

    /// Takes bytes of the client, and starts and stops the clocks that they concern.
    fn take(&mut self, bytes: Bytes) {
        let (was_in_head, heads) = (self.framing.in_head(), self.framing.heads());
        self.framing.push(bytes, &mut self.ready);
        let next = self.framing.heads() != heads;
        if !was_in_head || next {
            // Whatever head has begun, it is another one.
            self.head.stop();
        }
        if next {
            self.request.stop();
            self.answer.stop();
            if let Some(patience) = self.patience.answer {
                self.answer.start(patience);
            }
        }
        if self.framing.in_head() {
            self.head.start(self.patience.head);
        }
        match self.patience.request {
            Some(patience) if self.framing.in_request() => self.request.start(patience),
            _ => self.request.stop(),
        }
    }

    /// Fails when the client takes too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.head.passed(cx) || self.request.passed(cx) {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        Poll::Pending
    }
}

impl AsyncRead for Inbound {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                let n = out.remaining().min(this.ready.len());
                out.put_slice(&this.ready.split_to(n));
                return Poll::Ready(Ok(()));
            }
            let mut scratch = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.pipe).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return this.poll_late(cx).map(Err),
            }
            if read.filled().is_empty() {
                this.framing.finish(&mut this.ready);
                if this.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.take(Bytes::copy_from_slice(read.filled()));
        }
    }
}

impl AsyncWrite for Inbound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.answer.passed(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.pipe).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.answer.passed(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.pipe).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }
}
