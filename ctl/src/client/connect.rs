//! Byte streams to targets: the only place of the client that knows sockets.

use std::{fmt, io, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::OnceCell,
};

use tokio_rustls::TlsConnector;

use super::{
    Dialer,
    addr::Target,
    tls::{self, Tls},
};

/// Both directions of a byte pipe.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// A byte pipe to a target.
pub type ByteStream = Box<dyn Duplex>;

/// Opens byte pipes. A client works over any of them, a simulated one included.
pub trait Connector: Send + Sync {
    /// Connects, with names resolved.
    fn connect(&self, target: &Target) -> BoxFuture<'static, io::Result<ByteStream>>;
}

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The sockets of this machine, TLS and libp2p over them.
#[derive(Clone, Default)]
pub struct Sockets {
    /// Made at the first libp2p target.
    dialer: Arc<OnceCell<Dialer>>,
    secret: Option<[u8; 32]>,
    /// For targets over TCP.
    tls: Option<Tls>,
    /// Made at the first connection that needs it.
    connector: Arc<OnceCell<TlsConnector>>,
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Sockets {
    /// With the cluster's secret, which libp2p targets need.
    #[must_use]
    pub fn new(secret: Option<[u8; 32]>) -> Self {
        Self {
            secret,
            ..Self::default()
        }
    }

    /// With TLS to targets over TCP.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }

    async fn open(&self, target: &Target) -> io::Result<ByteStream> {
        match target {
            Target::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let Some(tls) = self.tls else {
                    return Ok(Box::new(stream));
                };
                let make = || async { tls::connector(tls) };
                let connector = self.connector.get_or_try_init(make).await?;
                tls::secure(connector, host, stream).await
            }
            Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Target::Libp2p { address, peer } => {
                let start = || async { Dialer::start(self.secret) };
                let dialer = self.dialer.get_or_try_init(start).await?;
                dialer.open(address.clone(), peer).await
            }
            Target::DnsAddr(_) => Err(io::Error::other("the name is still to be resolved")),
        }
    }
}

impl Connector for Sockets {
    fn connect(&self, target: &Target) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (sockets, target) = (self.clone(), target.clone());
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, sockets.open(&target));
            connected
                .await
                .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection")))
        })
    }
}
