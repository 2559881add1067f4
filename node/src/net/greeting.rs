//! Tells a wrong secret from other failures.
//!
//! Every libp2p connection begins, both ways, with multistream-select's header. Below it the
//! secret's cipher has no check of its own: with two secrets each side reads noise. This wrapper
//! looks at the first bytes that come out of the cipher and names the fault at the first wrong one.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, ready};

/// What every connection starts with.
const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";

/// The first bytes of a connection are not libp2p's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoGreeting {
    /// Whether this peer has a secret.
    pub(super) has_secret: bool,
    /// Whether the other side closed without a byte, as one does that could not read ours.
    pub(super) closed: bool,
}

impl fmt::Display for NoGreeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.has_secret, self.closed) {
            (true, false) => "wrong secret: the other side does not have this cluster's secret",
            (true, true) => "closed in the handshake: the other side has a wrong secret",
            (false, false) => {
                "the other side has a secret and this peer none, or it is no libp2p peer"
            }
            (false, true) => {
                "closed in the handshake: the other side may have a secret, this peer none"
            }
        })
    }
}

impl std::error::Error for NoGreeting {}

impl NoGreeting {
    /// Finds it among the causes of a transport's error.
    pub(super) fn find(error: &io::Error) -> Option<Self> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        // The chain is as deep as the transport's layers; the bound only guards against a cycle.
        for _ in 0..32 {
            let current = next?;
            if let Some(found) = current.downcast_ref::<Self>() {
                return Some(*found);
            }
            next = match current
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                Some(inner) => Some(inner),
                None => current.source(),
            };
        }
        None
    }
}

/// A pipe whose first bytes are checked as they are read.
pub(super) struct Greeting<S> {
    pipe: S,
    /// Bytes of the header seen so far.
    seen: usize,
    has_secret: bool,
}

impl<S> Greeting<S> {
    pub(super) const fn new(pipe: S, has_secret: bool) -> Self {
        Self {
            pipe,
            seen: 0,
            has_secret,
        }
    }

    fn check(&mut self, read: &[u8]) -> io::Result<()> {
        let expected = HEADER.get(self.seen..).unwrap_or_default();
        let n = expected.len().min(read.len());
        let closed = read.is_empty() && !expected.is_empty();
        if closed || expected.get(..n) != read.get(..n) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                NoGreeting {
                    has_secret: self.has_secret,
                    closed,
                },
            ));
        }
        self.seen += n;
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let greeted = self.seen == HEADER.len();
        let n = ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
        if !greeted && !buf.is_empty() {
            self.check(buf.get(..n).unwrap_or_default())?;
        }
        Poll::Ready(Ok(n))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
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
        Pin::new(&mut self.pipe).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, io::Cursor};

    async fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Greeting::new(Cursor::new(bytes), true)
            .read_to_end(&mut out)
            .await?;
        Ok(out)
    }

    #[tokio::test]
    async fn the_header_and_what_follows_pass() {
        let bytes = [HEADER, b"rest"].concat();
        assert_eq!(read(&bytes).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn other_bytes_and_an_early_end_are_named() {
        let garbage = read(b"\x13/multistream/9.9.9\n").await.unwrap_err();
        assert!(!NoGreeting::find(&garbage).unwrap().closed);
        let wrapped = io::Error::other(garbage);
        assert!(NoGreeting::find(&wrapped).is_some());
        let early = read(b"").await.unwrap_err();
        assert!(NoGreeting::find(&early).unwrap().closed);
        assert_eq!(NoGreeting::find(&io::Error::other("else")), None);
    }
}
