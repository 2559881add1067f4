//! What a packet does where it arrives.

use sha2::{Digest as _, Sha256};

use super::{BACKLOG_MAX, Body, ConnId, Network, Packet, conn::Phase};
use crate::world::Trace;

impl Network {
    pub(super) fn arrive(&mut self, packet: Packet, trace: &mut Trace) {
        let Packet { conn: id, from, .. } = packet;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (a, b) = conn.direction(from);
        if self.links.is_cut(a, b) {
            self.held.push(packet);
            return;
        }
        let to = &conn.ends[1 - from];
        if self.down.contains(&b) {
            return;
        }
        if to.dead && !matches!(packet.body, Body::Reset) {
            self.send(id, 1 - from, Body::Reset);
            return;
        }
        match packet.body {
            Body::Open => self.arrive_open(id, trace),
            Body::Opened => {
                conn.phase = Phase::Open;
                self.wakes.add(b, &mut conn.opener);
            }
            Body::Refused => {
                conn.phase = Phase::Refused;
                self.wakes.add(b, &mut conn.opener);
            }
            Body::Data(bytes) => self.arrive_data(id, from, &bytes, trace),
            Body::Fin => {
                let half = &mut conn.halves[from];
                half.fin_arrived = true;
                self.wakes.add(b, &mut half.reader);
            }
            Body::Reset => {
                trace.line(self.now, format_args!("reset c{id} h{a}>h{b}"));
                self.arrive_reset(id, from);
            }
        }
    }

    fn arrive_open(&mut self, id: ConnId, trace: &mut Trace) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (a, b) = conn.direction(0);
        match self.listeners.get_mut(&conn.to) {
            Some(backlog) if backlog.waiting.len() < BACKLOG_MAX => {
                backlog.waiting.push_back(id);
                self.wakes.add(b, &mut backlog.acceptor);
                trace.line(self.now, format_args!("open c{id} h{a}>h{b}"));
                self.send(id, 1, Body::Opened);
            }
            Some(_) => {}
            None => {
                trace.line(self.now, format_args!("refuse c{id} h{a}>h{b}"));
                conn.ends[1].dropped = true;
                self.send(id, 1, Body::Refused);
            }
        }
    }

    fn arrive_data(&mut self, id: ConnId, from: usize, bytes: &[u8], trace: &mut Trace) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (a, b) = conn.direction(from);
        let digest = Sha256::digest(bytes);
        let short = hex::encode(digest.get(..6).unwrap_or_default());
        let len = bytes.len();
        *self.arrived.entry(b).or_default() += 1;
        trace.line(self.now, format_args!("data c{id} h{a}>h{b} {len} {short}"));
        let half = &mut conn.halves[from];
        half.in_flight = half.in_flight.saturating_sub(len);
        if conn.ends[1 - from].dropped {
            self.send(id, 1 - from, Body::Reset);
            return;
        }
        half.inbox.extend(bytes);
        self.wakes.add(b, &mut half.reader);
        if self.rng.chance(self.links.get(a, b).reset_ppm) {
            trace.line(self.now, format_args!("break c{id} h{a}>h{b}"));
            self.arrive_reset(id, 0);
            self.arrive_reset(id, 1);
        }
    }

    /// A reset sent by end `from` reaches the other.
    pub(super) fn arrive_reset(&mut self, id: ConnId, from: usize) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.ends[1 - from].reset = true;
            if conn.phase == Phase::Opening {
                conn.phase = Phase::Refused;
            }
            conn.wake_all(&mut self.wakes);
        }
    }
}
