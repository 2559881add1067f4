//! State of one connection, with the semantics of TCP that programs can see.

use std::{collections::VecDeque, task::Waker};

use super::Place;
use crate::world::{HostId, Micros};

/// Bytes that may be under way or unread in one direction.
const WINDOW: usize = 256 * 1024;

/// Who is woken at the start of the next step, and on which machine.
#[derive(Debug, Default)]
pub(super) struct Wakes(Vec<(HostId, Waker)>);

impl Wakes {
    /// Wakes whoever waits there, on that machine.
    pub(super) fn add(&mut self, host: HostId, waiting: &mut Option<Waker>) {
        self.0.extend(waiting.take().map(|waker| (host, waker)));
    }

    /// The machines.
    pub(super) fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.0.iter().map(|(host, _)| *host)
    }

    /// All of them, to be woken now.
    pub(super) fn take(&mut self) -> Vec<(HostId, Waker)> {
        std::mem::take(&mut self.0)
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Arrived and unread.
    pub(super) inbox: VecDeque<u8>,
    /// Sent and not yet arrived.
    pub(super) in_flight: usize,
    /// Read, but the acknowledgement cannot get back over a cut link.
    pub(super) unacknowledged: usize,
    /// The writer has said that no more follows.
    pub(super) fin_sent: bool,
    /// ... and the reader has heard it.
    pub(super) fin_arrived: bool,
    /// When the last packet of this direction arrives: none overtakes another.
    pub(super) last_arrival: Micros,
    /// The last segment, which later writes of the same step join: the step, and its place in the
    /// queue.
    pub(super) segment: Option<(Micros, Micros, u64)>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Half {
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.in_flight + self.inbox.len() + self.unacknowledged)
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Open,
    Refused,
}

/// State of one end.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) host: HostId,
    /// A reset has arrived here.
    pub(super) reset: bool,
    /// The program has dropped it.
    pub(super) dropped: bool,
    /// Its machine has crashed: what arrives is answered with a reset once it is up again.
    pub(super) dead: bool,
}

/// A connection. End 0 opened it; `halves[e]` carries what end `e` writes.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) ends: [End; 2],
    pub(super) halves: [Half; 2],
    pub(super) phase: Phase,
    pub(super) to: Place,
    pub(super) from_port: u16,
    /// Who waits for it to open.
    pub(super) opener: Option<Waker>,
}

impl Conn {
    pub(super) fn new(from: HostId, from_port: u16, to: Place) -> Self {
        let end = |host| End {
            host,
            ..End::default()
        };
        Self {
            ends: [end(from), end(to.host)],
            halves: [Half::default(), Half::default()],
            phase: Phase::Opening,
            to,
            from_port,
            opener: None,
        }
    }

    /// Hosts in the direction that end `from` writes.
    pub(super) fn direction(&self, from: usize) -> (HostId, HostId) {
        (self.ends[from].host, self.ends[1 - from].host)
    }

    /// Whether neither program can touch it any more.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.dropped || end.dead)
    }

    /// Wakes everybody who waits for something on it.
    pub(super) fn wake_all(&mut self, wakes: &mut Wakes) {
        let (from, to) = self.direction(0);
        let [out, back] = &mut self.halves;
        wakes.add(to, &mut out.reader);
        wakes.add(from, &mut out.writer);
        wakes.add(from, &mut back.reader);
        wakes.add(to, &mut back.writer);
        wakes.add(from, &mut self.opener);
    }
}
