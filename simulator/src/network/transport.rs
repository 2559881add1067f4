//! libp2p's transport over simulated pipes: pnet, noise, yamux and all behaviours run above it.

use std::{
    io,
    net::Ipv4Addr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Ready},
};
use ipfs_cluster_node::env::{RawPipe, TransportDoor};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
};

use super::{
    Place, Port, host_of, ip,
    pipe::{self, Acceptor, Pipe},
};
use crate::world::{HostId, World};

/// The transport door of one host.
#[derive(Debug, Clone)]
pub struct Pipes {
    /// Where the other hosts are.
    pub world: World,
    /// Whose transport.
    pub host: HostId,
}

impl TransportDoor for Pipes {
    fn pipes(&self) -> io::Result<Boxed<RawPipe>> {
        let transport = PipeTransport {
            door: self.clone(),
            listening: Vec::new(),
        };
        Ok(transport.map(|pipe, _| Box::new(pipe) as RawPipe).boxed())
    }
}

struct Listening {
    id: ListenerId,
    acceptor: Acceptor,
    announced: bool,
}

struct PipeTransport {
    door: Pipes,
    listening: Vec<Listening>,
}

/// The host and port of `/ip4/…/tcp/…`, `/dns*/hostN/tcp/…`.
fn place(me: HostId, address: &Multiaddr) -> Option<Place> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => host_of(me, ip)?,
        Protocol::Dns(name) | Protocol::Dns4(name) => match name.as_ref() {
            "localhost" => me,
            name => name.strip_prefix("host")?.parse().ok()?,
        },
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else {
        return None;
    };
    Some(Place {
        host,
        port: Port::Tcp(port),
    })
}

fn multiaddr(ip: Ipv4Addr, port: u16) -> Multiaddr {
    Multiaddr::empty()
        .with(Protocol::Ip4(ip))
        .with(Protocol::Tcp(port))
}

impl Listening {
    fn address(&self) -> Multiaddr {
        let port = match self.acceptor.place.port {
            Port::Tcp(port) => port,
            Port::Unix(_) => 0,
        };
        multiaddr(ip(self.acceptor.place.host), port)
    }
}

impl Transport for PipeTransport {
    type Output = Pipe;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Pipe>>;
    type Dial = BoxFuture<'static, io::Result<Pipe>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        let Some(place) = place(self.door.host, &address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let acceptor = Acceptor::bind(&self.door.world, self.door.host, place.port)
            .map_err(TransportError::Other)?;
        self.listening.push(Listening {
            id,
            acceptor,
            announced: false,
        });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let before = self.listening.len();
        self.listening.retain(|l| l.id != id);
        self.listening.len() != before
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        _: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(to) = place(self.door.host, &address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        Ok(pipe::open(self.door.world.clone(), self.door.host, to).boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        for listening in &mut self.listening {
            if !listening.announced {
                listening.announced = true;
                return Poll::Ready(TransportEvent::NewAddress {
                    listener_id: listening.id,
                    listen_addr: listening.address(),
                });
            }
            if let Poll::Ready(accepted) = listening.acceptor.poll_accept(cx) {
                return Poll::Ready(match accepted {
                    Ok((pipe, host, port)) => TransportEvent::Incoming {
                        listener_id: listening.id,
                        upgrade: futures::future::ready(Ok(pipe)),
                        local_addr: listening.address(),
                        send_back_addr: multiaddr(ip(host), port),
                    },
                    Err(error) => TransportEvent::ListenerError {
                        listener_id: listening.id,
                        error,
                    },
                });
            }
        }
        Poll::Pending
    }
}
