//! Tells a wrong secret from other failures.
//!
//! Every libp2p connection begins, both ways, with multistream-select's header. Below it the
//! secret's cipher has no check of its own: with two secrets each side reads noise. This wrapper
//! looks at the first bytes that come out of the cipher and names the fault at the first wrong one.
//! It then answers with bytes of its own before it fails, so that the other side, which may only
//! have spoken yet, learns of the fault in the same way instead of seeing a connection reset.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, ready};
use ipfs_cluster_protocol::limits;
use libp2p::{noise, pnet};

/// What every connection starts with.
const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";

/// The first bytes of a connection are not libp2p's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoGreeting {
    /// Whether this peer has a secret.
    pub(super) has_secret: bool,
    /// Whether the other side hung up without a byte: perhaps it could not read ours.
    pub(super) closed: bool,
}

impl fmt::Display for NoGreeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.has_secret, self.closed) {
            (true, false) => "wrong secret: the other side does not have this cluster's secret",
            (true, true) => "hung up in the handshake: does the other side have the same secret?",
            (false, false) => {
                "the other side has a secret and this peer none, or it is no libp2p peer"
            }
            (false, true) => "hung up in the handshake: does the other side expect a secret?",
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
            // Both hide the error they carry from `source`.
            next = if let Some(outer) = current.downcast_ref::<io::Error>() {
                match outer.get_ref() {
                    Some(inner) => Some(inner),
                    None => std::error::Error::source(outer),
                }
            } else if let Some(noise::Error::Io(inner)) = current.downcast_ref() {
                Some(inner)
            } else {
                current.source()
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
    /// Set at the first wrong byte: bytes of [`FAREWELL`] sent so far.
    failing: Option<usize>,
}

/// Sent to a side with another secret. Whatever it reads it as, it is not the header; and it is
/// longer than the secret's nonce, for a side that still waits for that.
const FAREWELL: [u8; 64] = [0; 64];

impl<S> Greeting<S> {
    pub(super) const fn new(pipe: S, has_secret: bool) -> Self {
        Self {
            pipe,
            seen: 0,
            has_secret,
            failing: None,
        }
    }

    fn fault(&self, closed: bool) -> io::Error {
        let fault = NoGreeting {
            has_secret: self.has_secret,
            closed,
        };
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }

    /// Whether what was read continues the header.
    fn is_expected(&mut self, read: &[u8]) -> bool {
        let expected = HEADER.get(self.seen..).unwrap_or_default();
        let n = expected.len().min(read.len());
        self.seen += n;
        expected.get(..n) == read.get(..n)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeting<S> {
    fn poll_farewell(&mut self, cx: &mut Context<'_>, mut sent: usize) -> Poll<()> {
        while let Some(rest @ [_, ..]) = FAREWELL.get(sent..) {
            match ready!(Pin::new(&mut self.pipe).poll_write(cx, rest)) {
                Ok(n @ 1..) => sent += n,
                _ => return Poll::Ready(()),
            }
            self.failing = Some(sent);
        }
        let _ = ready!(Pin::new(&mut self.pipe).poll_flush(cx));
        let mut unread = [0; 1024];
        for _ in 0..limits::NET_DRAIN_READS_MAX {
            match Pin::new(&mut self.pipe).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(1..)) => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

/// An error that means the other side hung up, or the path to it did.
fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

/// The secret's nonces are exchanged before the greeting: names what goes wrong there.
pub(super) fn name_handshake_error(error: pnet::PnetError) -> io::Error {
    match error {
        pnet::PnetError::HandshakeError(e) | pnet::PnetError::IoError(e) if is_hang_up(&e) => {
            Greeting::new((), true).fault(true)
        }
        pnet::PnetError::HandshakeError(e) | pnet::PnetError::IoError(e) => e,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(sent) = this.failing {
            ready!(this.poll_farewell(cx, sent));
            return Poll::Ready(Err(this.fault(false)));
        }
        let read = ready!(Pin::new(&mut this.pipe).poll_read(cx, buf));
        if this.seen == HEADER.len() || buf.is_empty() {
            return Poll::Ready(read);
        }
        match read {
            Ok(0) => Poll::Ready(Err(this.fault(true))),
            Err(e) if is_hang_up(&e) => Poll::Ready(Err(this.fault(true))),
            Err(e) => Poll::Ready(Err(e)),
            Ok(n) if this.is_expected(buf.get(..n).unwrap_or_default()) => Poll::Ready(Ok(n)),
            Ok(_) => {
                this.failing = Some(0);
                ready!(this.poll_farewell(cx, 0));
                Poll::Ready(Err(this.fault(false)))
            }
        }
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
        Greeting::new(Cursor::new(bytes.to_vec()), true)
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
