//! How what programs write gets under way: in segments, as a kernel would put them together.

use std::collections::btree_map::Entry;

use super::{Body, ConnId, Network, Packet};

/// Bytes of a segment that several writes share.
const SEGMENT_MAX: usize = 64 << 10;

impl Network {
    pub(super) fn send(&mut self, id: ConnId, from: usize, body: Body) {
        if let Body::Data(bytes) = &body
            && self.join_segment(id, from, bytes)
        {
            return;
        }
        let is_data = matches!(body, Body::Data(_));
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let len = match &body {
            Body::Data(bytes) => bytes.len(),
            _ => 0,
        };
        let direction = conn.direction(from);
        let at = self.links.arrival(direction, len, self.now, &mut self.rng);
        let half = &mut conn.halves[from];
        half.last_arrival = half.last_arrival.max(at);
        let at = half.last_arrival;
        half.segment = is_data.then_some((self.now, at, self.sent + 1));
        let packet = Packet {
            conn: id,
            from,
            body,
        };
        self.enqueue(at, packet);
    }

    /// Writes of one step leave in one segment; false when there
    /// is none that these bytes can join.
    fn join_segment(&mut self, id: ConnId, from: usize, bytes: &[u8]) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else {
            return false;
        };
        let direction = conn.direction(from);
        let half = &mut conn.halves[from];
        let Some((step, at, number)) = half.segment.filter(|(step, ..)| *step == self.now) else {
            return false;
        };
        let mut entry = match self.queue.entry((at, number)) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(_) => return false,
        };
        match &mut entry.get_mut().body {
            Body::Data(sent) if sent.len() + bytes.len() <= SEGMENT_MAX => {
                sent.extend_from_slice(bytes);
            }
            _ => return false,
        }
        let later = self.links.occupy(direction, bytes.len(), self.now).max(at);
        if later > at {
            let packet = entry.remove();
            self.queue.insert((later, number), packet);
            half.segment = Some((step, later, number));
            half.last_arrival = later;
        }
        true
    }
}
