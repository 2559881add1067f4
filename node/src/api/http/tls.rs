//! TLS on accepted pipes: rustls on ring, HTTP/1.1 alone.
//!
//! The Go client offers no X25519 and of TLS 1.2 the RSA suites alone: P-256 and P-384 are there
//! for it, and an ECDSA certificate reaches it over TLS 1.3.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ipfs_cluster_protocol::limits;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::env::{ByteStream, Disk, Env};

/// What a client that speaks no TLS is told, as the Go program's library tells it.
const PLAIN: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// How long such a client's request is read on, lest closing on unread bytes swallow the answer.
const DRAIN: Duration = Duration::from_millis(500);
/// The first byte of a TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

/// How a server shows who it is. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct TlsError {
    file: String,
    why: String,
}

impl TlsError {
    fn new(path: &Path, why: impl ToString) -> Self {
        Self {
            file: path.display().to_string(),
            why: why.to_string(),
        }
    }
}

impl Tls {
    /// With a certificate (those above it in the same file) and its key, both PEM.
    pub async fn load(env: &Env, certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let (disk, paths) = (env.disk.clone(), (certificates.to_owned(), key.to_owned()));
        let lane = env.lanes.lane("certificates");
        let read = lane.run(move || Self::read(&*disk, &paths.0, &paths.1));
        read.await
            .map_err(|e| TlsError::new(certificates, e))
            .flatten()
    }

    fn read(disk: &dyn Disk, certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let bytes = |path: &Path| {
            let read = disk.read(path, limits::CONFIG_BYTES_MAX);
            read.map_err(|e| TlsError::new(path, e))
        };
        let chain = bytes(certificates)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .map_err(|e| TlsError::new(certificates, format!("no PEM certificate: {e}")))?;
        if chain.is_empty() {
            return Err(TlsError::new(certificates, "holds no PEM certificate"));
        }
        let secret = PrivateKeyDer::from_pem_slice(&bytes(key)?)
            .map_err(|e| TlsError::new(key, format!("no PEM key: {e}")))?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::new(certificates, e))?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|e| TlsError::new(key, e))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The plain text of a pipe; none when the client did not get that far in time, and for one
    /// that speaks plain HTTP, which is told so.
    pub(super) async fn accept(
        &self,
        mut pipe: ByteStream,
        patience: Duration,
    ) -> Option<ByteStream> {
        let handshake = async move {
            let first = pipe.read_u8().await.ok()?;
            if first.is_ascii_uppercase() {
                return Some(Err(pipe));
            }
            let pipe = Rewound {
                first: (first == HANDSHAKE).then_some(first)?,
                given_back: false,
                pipe,
            };
            match self.0.accept(pipe).await {
                Ok(stream) => Some(Ok(Box::new(stream) as ByteStream)),
                Err(e) => {
                    tracing::debug!(target: "restapi", error = %e, "a client's TLS handshake failed");
                    None
                }
            }
        };
        match timeout(patience, handshake).await.ok()?? {
            Ok(stream) => Some(stream),
            Err(pipe) => {
                turn_away(pipe).await;
                None
            }
        }
    }
}

async fn turn_away(mut pipe: ByteStream) {
    let told = async {
        pipe.write_all(PLAIN).await?;
        pipe.shutdown().await?;
        let mut rest = pipe.take(limits::FRAMING_HEAD_BYTES_MAX as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether it listens is its own affair.
    let _ = timeout(DRAIN, told).await;
}

/// A pipe of which the first byte was looked at.
struct Rewound {
    first: u8,
    given_back: bool,
    pipe: ByteStream,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.given_back && out.remaining() > 0 {
            self.given_back = true;
            out.put_slice(&[self.first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.pipe).poll_read(cx, out)
    }
}

impl AsyncWrite for Rewound {
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
}
