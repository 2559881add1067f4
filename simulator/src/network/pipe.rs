//! Streams over a connection, and how one is opened and accepted.

use std::{
    future::poll_fn,
    io::{self, Read as _},
    pin::Pin,
    task::{Context, Poll},
};

use super::{
    Backlog, Body, ConnId, Network, Place, Port,
    conn::{Conn, Phase},
};
use crate::world::{HostId, World};

/// One end of a connection, for tokio's traits and for those of `futures`.
#[derive(Debug)]
pub(super) struct Pipe {
    world: World,
    conn: ConnId,
    end: usize,
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Pipe {
    fn poll_take(&self, cx: &Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut world = self.world.lock();
        let Network {
            conns,
            links,
            wakes,
            ..
        } = &mut world.network;
        let Some(conn) = conns.get_mut(&self.conn) else {
            return Poll::Ready(Err(reset()));
        };
        let (me, other) = conn.direction(self.end);
        let half = &mut conn.halves[1 - self.end];
        if !half.inbox.is_empty() {
            let n = half.inbox.read(out)?;
            if links.is_cut(me, other) {
                half.unacknowledged += n;
            } else {
                // The other host runs its own slot; it hears at the start of the next step.
                wakes.add(other, &mut half.writer);
            }
            return Poll::Ready(Ok(n));
        }
        if conn.ends[self.end].reset || conn.ends[self.end].dead {
            return Poll::Ready(Err(reset()));
        }
        if half.fin_arrived {
            return Poll::Ready(Ok(0));
        }
        half.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_put(&self, cx: &Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut world = self.world.lock();
        let Some(conn) = world.network.conns.get_mut(&self.conn) else {
            return Poll::Ready(Err(reset()));
        };
        if conn.ends[self.end].reset || conn.ends[self.end].dead {
            return Poll::Ready(Err(reset()));
        }
        let half = &mut conn.halves[self.end];
        if half.fin_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = half.room().min(data.len());
        if n == 0 && !data.is_empty() {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        half.in_flight += n;
        let bytes = data.get(..n).unwrap_or_default().to_vec();
        world.network.send(self.conn, self.end, Body::Data(bytes));
        Poll::Ready(Ok(n))
    }

    fn finish(&self) {
        let mut world = self.world.lock();
        if let Some(conn) = world.network.conns.get_mut(&self.conn)
            && !std::mem::replace(&mut conn.halves[self.end].fin_sent, true)
        {
            world.network.send(self.conn, self.end, Body::Fin);
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.world.lock().network.drop_end(self.conn, self.end);
    }
}

impl futures::AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(cx, out)
    }
}

impl futures::AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_put(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.poll_take(cx, out.initialize_unfilled()) {
            Poll::Ready(Ok(n)) => {
                out.advance(n);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl tokio::io::AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_put(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

/// Opens a connection. Dropping the future gives it up.
pub(super) async fn open(world: World, from: HostId, to: Place) -> io::Result<Pipe> {
    let conn = {
        let mut world = world.lock();
        let network = &mut world.network;
        let id = network.next_conn;
        network.next_conn += 1;
        let port = network.free_port(from);
        network.conns.insert(id, Conn::new(from, port, to));
        network.send(id, 0, Body::Open);
        id
    };
    let pipe = Pipe {
        world,
        conn,
        end: 0,
    };
    poll_fn(|cx| pipe.poll_open(cx)).await?;
    Ok(pipe)
}

impl Pipe {
    fn poll_open(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut world = self.world.lock();
        let Some(conn) = world.network.conns.get_mut(&self.conn) else {
            return Poll::Ready(Err(reset()));
        };
        match conn.phase {
            Phase::Open => Poll::Ready(Ok(())),
            Phase::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Phase::Opening => {
                conn.opener = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A place where connections are accepted; dropping it refuses what waits and what comes.
#[derive(Debug)]
pub(super) struct Acceptor {
    world: World,
    pub(super) place: Place,
}

impl Acceptor {
    /// Starts to listen; port 0 takes a free one.
    pub(super) fn bind(world: &World, host: HostId, port: Port) -> io::Result<Self> {
        let mut locked = world.lock();
        let network = &mut locked.network;
        let port = match port {
            Port::Tcp(0) => Port::Tcp(network.free_port(host)),
            given => given,
        };
        let place = Place { host, port };
        if network.listeners.contains_key(&place) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        network.listeners.insert(place.clone(), Backlog::default());
        drop(locked);
        Ok(Self {
            world: world.clone(),
            place,
        })
    }

    /// The next connection, with the host and port it comes from.
    pub(super) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(Pipe, HostId, u16)>> {
        let mut world = self.world.lock();
        let network = &mut world.network;
        let Some(backlog) = network.listeners.get_mut(&self.place) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        while let Some(id) = backlog.waiting.pop_front() {
            if let Some(conn) = network.conns.get(&id) {
                let pipe = Pipe {
                    world: self.world.clone(),
                    conn: id,
                    end: 1,
                };
                return Poll::Ready(Ok((pipe, conn.ends[0].host, conn.from_port)));
            }
        }
        backlog.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let mut world = self.world.lock();
        let network = &mut world.network;
        // After a crash the place may belong to the next life; only then is the machine restarted,
        // and by then nothing of this life is left.
        let waiting = network.listeners.remove(&self.place);
        for id in waiting.map(|b| b.waiting).unwrap_or_default() {
            network.send(id, 1, Body::Reset);
            network.drop_end(id, 1);
        }
    }
}
