//! Servers and clients over TCP and unix sockets.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the real side of the listen and connect doors"
)]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::env::{Addr, ByteStream, ConnectDoor, ListenDoor, Listener};

/// The sockets of this machine.
#[derive(Debug)]
pub(super) struct Sockets;

impl ListenDoor for Sockets {
    fn listen(&self, addr: Addr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        async move {
            Ok(match addr {
                Addr::Tcp(host, port) => {
                    let socket = TcpListener::bind((host.as_str(), port)).await?;
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

fn tcp(addr: std::net::SocketAddr) -> Addr {
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
