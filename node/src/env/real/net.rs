//! Servers and clients over TCP and unix sockets.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the real side of the listen and connect doors"
)]

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use futures::{FutureExt as _, future::BoxFuture};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, lookup_host};

use crate::env::{Addr, ByteStream, ConnectDoor, ListenDoor, Listener};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The sockets of this machine.
#[derive(Debug)]
pub(super) struct Sockets;

impl ListenDoor for Sockets {
    fn listen(&self, addr: Addr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        async move {
            Ok(match addr {
                Addr::Tcp(host, port) => {
                    let socket = bind(&host, port).await?;
                    let local = socket.local_addr()?;
                    Box::new(TcpServer {
                        socket,
                        local: tcp(local),
                    }) as Box<dyn Listener>
                }
                Addr::Unix(path) => Box::new(UnixServer {
                    socket: bind_unix(&path).await?,
                    path,
                }),
            })
        }
        .boxed()
    }
}

impl ConnectDoor for Sockets {
    fn connect(&self, addr: Addr) -> BoxFuture<'static, io::Result<ByteStream>> {
        async move {
            Ok(match addr {
                Addr::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream) as ByteStream
                }
                Addr::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        }
        .boxed()
    }
}

/// Listens at the first address of a name that can be listened at.
async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in lookup_host((host, port)).await? {
        match listener(addr) {
            Ok(listener) => return Ok(listener),
            Err(e) => refused = e,
        }
    }
    Err(refused)
}

/// `::` is IPv6 alone, so that `0.0.0.0` can be listened at beside it, as the Go program's
/// configurations do.
fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn tcp(addr: SocketAddr) -> Addr {
    Addr::Tcp(addr.ip().to_string(), addr.port())
}

/// Binds; a socket that a killed process left behind is replaced, one that answers is not.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path).await {
            Err(gone) if gone.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(e),
        },
        bound => bound,
    }
}

struct TcpServer {
    socket: TcpListener,
    local: Addr,
}

impl Listener for TcpServer {
    fn local_addr(&self) -> Addr {
        self.local.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(ByteStream, Addr)>> {
        async move {
            let (stream, from) = self.socket.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as ByteStream, tcp(from)))
        }
        .boxed()
    }
}

struct UnixServer {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener for UnixServer {
    fn local_addr(&self) -> Addr {
        Addr::Unix(self.path.clone())
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(ByteStream, Addr)>> {
        async move {
            let (stream, _) = self.socket.accept().await?;
            // The other end of a unix socket has no name.
            Ok((Box::new(stream) as ByteStream, Addr::Unix(PathBuf::new())))
        }
        .boxed()
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        // Best effort: the next start replaces a socket nobody listens on.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn echo_once(addr: Addr) -> Addr {
        let mut server = Sockets.listen(addr).await.unwrap();
        let at = server.local_addr();
        let client = Sockets.connect(at.clone());
        let (accepted, connected) = tokio::join!(server.accept(), client);
        let (mut far, _) = accepted.unwrap();
        let mut near = connected.unwrap();
        near.write_all(b"ping").await.unwrap();
        near.shutdown().await.unwrap();
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"ping");
        at
    }

    #[tokio::test]
    async fn tcp_takes_a_free_port_and_resolves_names() {
        let at = echo_once(Addr::Tcp("localhost".to_owned(), 0)).await;
        assert!(matches!(at, Addr::Tcp(_, port) if port != 0));
    }

    #[tokio::test]
    async fn both_families_are_listened_at_on_one_port() {
        let first = Sockets.listen(Addr::Tcp("0.0.0.0".to_owned(), 0)).await;
        let first = first.unwrap();
        let Addr::Tcp(_, port) = first.local_addr() else {
            panic!("a TCP listener has a port");
        };
        // A machine may have no IPv6 at all; the port must not be what is in the way.
        let second = Sockets.listen(Addr::Tcp("::".to_owned(), port)).await;
        let refused = second.err().map(|e| e.kind());
        assert_ne!(refused, Some(io::ErrorKind::AddrInUse));
        let again = Sockets.listen(Addr::Tcp("0.0.0.0".to_owned(), port)).await;
        let refused = again.err().map(|e| e.kind());
        assert_eq!(refused, Some(io::ErrorKind::AddrInUse));
    }

    #[tokio::test]
    async fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        echo_once(Addr::Unix(path.clone())).await;
        assert!(!path.exists());
        let _live = Sockets.listen(Addr::Unix(path.clone())).await.unwrap();
        let second = Sockets.listen(Addr::Unix(path)).await;
        assert_eq!(
            second.err().map(|e| e.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
    }
}
