//! The simulated network: byte pipes between machines, as TCP would show them.
//!
//! ```text
//! clients.rs    the client library      ┐
//! transport.rs  libp2p's transport      │
//! sockets.rs    listen and connect doors├─ pipe.rs (streams) ─ mod.rs (packets) ─ links.rs
//!                                       ┘                      conn.rs, segments.rs, arrivals.rs
//! ```
//!
//! Every host has one address; whatever address it listens on (any, loopback, its own), it is
//! reached at that one, and at `127.0.0.1` by itself. A packet that meets a cut link waits and is
//! sent again after the link is mended, as TCP does.

mod arrivals;
mod clients;
mod conn;
mod links;
mod pipe;
mod segments;
mod sockets;
mod transport;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    path::PathBuf,
    task::Waker,
};

pub use clients::ClientSockets;
pub use links::{Link, Links};
pub use sockets::Sockets;
pub use transport::Pipes;

use self::{
    conn::{Conn, Wakes},
    links::RETRANSMIT_US,
};
use crate::world::{HostId, Micros, Rng, Trace};

/// Connections waiting to be accepted; further ones are not answered.
const BACKLOG_MAX: usize = 1024;
/// First port that connections leave from and that "any port" gives.
const EPHEMERAL_PORT: u16 = 49_152;

type ConnId = u64;

/// The address of a host.
#[must_use]
pub fn ip(host: HostId) -> Ipv4Addr {
    let [.., c, d] = (host as u64).to_be_bytes();
    Ipv4Addr::new(10, 0, c, d)
}

/// Whose address it is, seen from `me`.
pub(crate) fn host_of(me: HostId, address: Ipv4Addr) -> Option<HostId> {
    match address.octets() {
        [127, ..] | [0, 0, 0, 0] => Some(me),
        [10, 0, c, d] => Some(usize::from(c) * 256 + usize::from(d)),
        _ => None,
    }
}

/// Port or path on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    Tcp(u16),
    Unix(PathBuf),
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: HostId,
    pub(crate) port: Port,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<ConnId>,
    acceptor: Option<Waker>,
}

/// What travels. `from` is the end that sent it.
#[derive(Debug)]
enum Body {
    Open,
    Opened,
    Refused,
    Data(Vec<u8>),
    Fin,
    Reset,
}

#[derive(Debug)]
struct Packet {
    conn: ConnId,
    from: usize,
    body: Body,
}

/// All pipes, links and packets under way.
#[derive(Debug)]
pub struct Network {
    now: Micros,
    rng: Rng,
    links: Links,
    queue: BTreeMap<(Micros, u64), Packet>,
    sent: u64,
    /// Packets that met a cut link.
    held: Vec<Packet>,
    conns: BTreeMap<ConnId, Conn>,
    next_conn: ConnId,
    next_port: BTreeMap<HostId, u16>,
    /// Segments that have reached each host.
    arrived: BTreeMap<HostId, u64>,
    listeners: BTreeMap<Place, Backlog>,
    down: BTreeSet<HostId>,
    wakes: Wakes,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            rng: Rng::new(seed, "network"),
            links: Links::default(),
            queue: BTreeMap::new(),
            sent: 0,
            held: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 1,
            next_port: BTreeMap::new(),
            arrived: BTreeMap::new(),
            listeners: BTreeMap::new(),
            down: BTreeSet::new(),
            wakes: Wakes::default(),
        }
    }

    /// Segments that have reached a host since the start of the run.
    #[must_use]
    pub fn messages(&self, host: HostId) -> u64 {
        self.arrived.get(&host).copied().unwrap_or(0)
    }

    /// The links, to change them.
    pub fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    /// Mends every cut; what was held is sent again.
    pub fn mend(&mut self) {
        self.links.mend();
        for packet in std::mem::take(&mut self.held) {
            self.enqueue(self.now + RETRANSMIT_US, packet);
        }
        for conn in self.conns.values_mut() {
            for (end, half) in conn.ends.iter().zip(&mut conn.halves) {
                half.unacknowledged = 0;
                self.wakes.add(end.host, &mut half.writer);
            }
        }
    }

    /// What a host has open: connections, and bytes it has sent that were not read yet.
    #[must_use]
    pub fn load(&self, host: HostId) -> (usize, usize) {
        let mut load = (0, 0);
        for conn in self.conns.values() {
            for (end, half) in conn.ends.iter().zip(&conn.halves) {
                if end.host == host {
                    load.0 += 1;
                    load.1 += half.in_flight + half.inbox.len();
                }
            }
        }
        load
    }

    /// Resets every connection between two hosts, seen at both ends.
    pub fn reset_between(&mut self, a: HostId, b: HostId) {
        let ids: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, c)| c.direction(0) == (a, b) || c.direction(0) == (b, a))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.arrive_reset(id, 0);
            self.arrive_reset(id, 1);
        }
    }

    /// Begins a step: which machines something happens to in it. What they still do before it arrives
    /// leaves in this step.
    pub(crate) fn begin(&mut self, now: Micros) -> BTreeSet<HostId> {
        self.now = now;
        let due = self.queue.range(..=(now, u64::MAX));
        let receivers = due.filter_map(|(_, packet)| {
            let conn = self.conns.get(&packet.conn)?;
            Some(conn.direction(packet.from).1)
        });
        receivers.chain(self.wakes.hosts()).collect()
    }

    /// Delivers what is due, and says whom to wake (after the world is unlocked).
    pub(crate) fn deliver(&mut self, trace: &mut Trace) -> Vec<(HostId, Waker)> {
        while let Some(next) = self.queue.first_entry() {
            if next.key().0 > self.now {
                break;
            }
            let packet = next.remove();
            self.arrive(packet, trace);
        }
        self.wakes.take()
    }

    /// A machine stops. When `silent`, nobody is told (power loss, cable pulled); else its kernel
    /// still resets its connections (the process was killed).
    pub(crate) fn stop(&mut self, host: HostId, silent: bool) {
        self.listeners.retain(|place, _| place.host != host);
        if silent {
            self.down.insert(host);
        }
        let ends: Vec<(ConnId, usize)> = self.ends_of(host).collect();
        for (id, end) in ends {
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            if !conn.ends[end].dead {
                conn.ends[end].dead = true;
                if !silent {
                    self.send(id, end, Body::Reset);
                }
            }
            self.forget_if_over(id);
        }
    }

    /// A machine is up again: what is still sent to its former life is answered with resets.
    pub(crate) fn start(&mut self, host: HostId) {
        if !self.down.remove(&host) {
            return;
        }
        let dead: Vec<(ConnId, usize)> = self
            .ends_of(host)
            .filter(|(id, end)| self.conns.get(id).is_some_and(|c| c.ends[*end].dead))
            .collect();
        for (id, end) in dead {
            self.send(id, end, Body::Reset);
        }
    }

    fn ends_of(&self, host: HostId) -> impl Iterator<Item = (ConnId, usize)> {
        self.conns.iter().flat_map(move |(id, conn)| {
            (0..2)
                .filter(move |end| conn.ends[*end].host == host)
                .map(|end| (*id, end))
        })
    }

    fn enqueue(&mut self, at: Micros, packet: Packet) {
        self.sent += 1;
        self.queue.insert((at, self.sent), packet);
    }

    /// The program at `end` drops its stream: what is unread is answered with a reset.
    fn drop_end(&mut self, id: ConnId, end: usize) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.ends[end].dropped = true;
        if !conn.ends[end].dead && !conn.ends[end].reset {
            let unread = !conn.halves[1 - end].inbox.is_empty();
            conn.halves[1 - end].inbox.clear();
            let fin_sent = std::mem::replace(&mut conn.halves[end].fin_sent, true);
            if unread {
                self.send(id, end, Body::Reset);
            } else if !fin_sent {
                self.send(id, end, Body::Fin);
            }
        }
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(Conn::is_over) {
            self.conns.remove(&id);
        }
    }

    fn free_port(&mut self, host: HostId) -> u16 {
        let next = self.next_port.entry(host).or_insert(EPHEMERAL_PORT);
        let port = *next;
        *next = port.checked_add(1).unwrap_or(EPHEMERAL_PORT);
        port
    }
}
