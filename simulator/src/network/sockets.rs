//! The listen and connect doors over simulated pipes.

use std::{future::poll_fn, io, net::Ipv4Addr, path::PathBuf, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::env::{Addr, ByteStream, ConnectDoor, ListenDoor, Listener};

use super::{
    Place, Port, host_of, ip,
    pipe::{self, Acceptor},
};
use crate::world::{HostId, World};

/// Linux gives up a connection attempt after this long (six retransmissions).
const CONNECT_DEADLINE: Duration = Duration::from_secs(127);

/// Sockets of one host.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// Where the other hosts are.
    pub world: World,
    /// Whose sockets.
    pub host: HostId,
}

impl Sockets {
    fn place(&self, addr: Addr) -> io::Result<Place> {
        Ok(match addr {
            Addr::Unix(path) => Place {
                host: self.host,
                port: Port::Unix(path),
            },
            Addr::Tcp(name, port) => Place {
                host: self.resolve(&name).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, format!("no host is called {name}"))
                })?,
                port: Port::Tcp(port),
            },
        })
    }

    /// An IPv4 address, `localhost`, or `host7`.
    fn resolve(&self, name: &str) -> Option<HostId> {
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return host_of(self.host, address);
        }
        if name == "localhost" {
            return Some(self.host);
        }
        name.strip_prefix("host")?.parse().ok()
    }
}

impl ConnectDoor for Sockets {
    fn connect(&self, addr: Addr) -> BoxFuture<'static, io::Result<ByteStream>> {
        let place = self.place(addr);
        let (world, host) = (self.world.clone(), self.host);
        async move {
            let opening = pipe::open(world, host, place?);
            let pipe = tokio::time::timeout(CONNECT_DEADLINE, opening)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(Box::new(pipe) as ByteStream)
        }
        .boxed()
    }
}

impl ListenDoor for Sockets {
    fn listen(&self, addr: Addr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let bound = self
            .place(addr)
            .and_then(|place| Acceptor::bind(&self.world, self.host, place.port));
        async move { Ok(Box::new(Server(bound?)) as Box<dyn Listener>) }.boxed()
    }
}

struct Server(Acceptor);

impl Listener for Server {
    fn local_addr(&self) -> Addr {
        match &self.0.place.port {
            Port::Tcp(port) => Addr::Tcp(ip(self.0.place.host).to_string(), *port),
            Port::Unix(path) => Addr::Unix(path.clone()),
        }
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(ByteStream, Addr)>> {
        async move {
            let (pipe, host, port) = poll_fn(|cx| self.0.poll_accept(cx)).await?;
            let from = match self.0.place.port {
                Port::Tcp(_) => Addr::Tcp(ip(host).to_string(), port),
                Port::Unix(_) => Addr::Unix(PathBuf::new()),
            };
            Ok((Box::new(pipe) as ByteStream, from))
        }
        .boxed()
    }
}
