//! Byte streams to targets: the only place of the client that knows sockets.

use std::{io, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::addr::Target;
use super::libp2p::Dialer;

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

/// The sockets of this machine, and libp2p over them.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Made at the first libp2p target.
    dialer: Arc<tokio::sync::OnceCell<Dialer>>,
    secret: Option<[u8; 32]>,
}

impl Sockets {
    /// With the cluster's secret, which libp2p targets need.
    #[must_use]
    pub fn new(secret: Option<[u8; 32]>) -> Self {
        Self {
            dialer: Arc::default(),
            secret,
        }
    }
}

impl Connector for Sockets {
    fn connect(&self, target: &Target) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (target, dialer, secret) = (target.clone(), self.dialer.clone(), self.secret);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, open(&target, &dialer, secret));
            connected
                .await
                .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection")))
        })
    }
}

async fn open(
    target: &Target,
    dialer: &tokio::sync::OnceCell<Dialer>,
    secret: Option<[u8; 32]>,
) -> io::Result<ByteStream> {
    match target {
        Target::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Target::Libp2p { address, peer } => {
            let dialer = dialer
                .get_or_try_init(|| async { Dialer::start(secret) })
                .await?;
            dialer.open(address.clone(), peer).await
        }
    }
}
