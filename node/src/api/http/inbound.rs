//! The client's side of a connection: its requests' framing, and how long a head may take.
//!
//! How long a connection may lie idle is hyper's business.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::framing::Framing;
use crate::env::ByteStream;

const READ_BYTES: usize = 16 * 1024;

/// A pipe to a client.
pub(super) struct Inbound {
    pipe: ByteStream,
    framing: Framing,
    /// Read from the client, not yet by hyper.
    ready: BytesMut,
    /// From the first byte of a request's head to its last.
    head_patience: Duration,
    /// When the head that has begun must be complete.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(pipe: ByteStream, head_patience: Duration) -> Self {
        Self {
            pipe,
            framing: Framing::new(),
            ready: BytesMut::new(),
            head_patience,
            deadline: None,
        }
    }

    /// Fails when the client takes too long to complete a head.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.framing.in_head() {
            self.deadline = None;
            return Poll::Pending;
        }
        let wait = self.head_patience;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + wait)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
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
                Poll::Pending => return this.poll_deadline(cx).map(Err),
            }
            if read.filled().is_empty() {
                this.framing.finish(&mut this.ready);
                if this.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let was_in_head = this.framing.in_head();
            let bytes = Bytes::copy_from_slice(read.filled());
            this.framing.push(bytes, &mut this.ready);
            if !was_in_head {
                // Whatever head has begun, it is another one.
                this.deadline = None;
            }
        }
    }
}

impl AsyncWrite for Inbound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.pipe).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }
}
