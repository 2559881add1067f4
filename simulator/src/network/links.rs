//! What lies between two machines: delay, bandwidth, loss, cuts.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{HostId, Micros, Rng};

/// Quality of one direction between two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// One-way delay, drawn evenly between the two.
    pub latency_us: (Micros, Micros),
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Segments lost, in a million; TCP sends them again, so loss shows as delay.
    pub loss_ppm: u64,
    /// Segments at which the connection is reset, in a million.
    pub reset_ppm: u64,
}

impl Default for Link {
    /// A local network.
    fn default() -> Self {
        Self {
            latency_us: (1_000, 3_000),
            bytes_per_second: 125_000_000,
            loss_ppm: 0,
            reset_ppm: 0,
        }
    }
}

/// First retransmission time-out of TCP; it doubles with each further loss.
pub(crate) const RETRANSMIT_US: Micros = 200_000;
/// Losses in a row that are drawn at most.
const LOSSES_MAX: u32 = 6;

/// All links. A pair is directed: (from, to).
#[derive(Debug, Default)]
pub struct Links {
    usual: Link,
    special: BTreeMap<(HostId, HostId), Link>,
    cut: BTreeSet<(HostId, HostId)>,
    /// When the last byte handed to a link has left it.
    busy_until: BTreeMap<(HostId, HostId), Micros>,
}

impl Links {
    /// Sets the quality of every link without one of its own.
    pub fn set_usual(&mut self, link: Link) {
        self.usual = link;
    }

    /// Gives one direction a quality of its own, or takes it back.
    pub fn set(&mut self, from: HostId, to: HostId, link: Option<Link>) {
        match link {
            Some(link) => self.special.insert((from, to), link),
            None => self.special.remove(&(from, to)),
        };
    }

    /// Quality of one direction.
    #[must_use]
    pub fn get(&self, from: HostId, to: HostId) -> Link {
        *self.special.get(&(from, to)).unwrap_or(&self.usual)
    }

    /// Lets nothing pass in one direction any more.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        if from != to {
            self.cut.insert((from, to));
        }
    }

    /// Lets everything pass again.
    pub(super) fn mend(&mut self) {
        self.cut.clear();
    }

    /// Whether nothing passes in this direction.
    #[must_use]
    pub fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// `len` more bytes go with a segment that leaves now; returns when they arrive at the earliest.
    pub(super) fn occupy(
        &mut self,
        (from, to): (HostId, HostId),
        len: usize,
        now: Micros,
    ) -> Micros {
        let link = self.get(from, to);
        let wire = (len as u64).saturating_mul(1_000_000) / link.bytes_per_second.max(1);
        let busy = self.busy_until.entry((from, to)).or_default();
        *busy = now.max(*busy).saturating_add(wire);
        busy.saturating_add(link.latency_us.0)
    }

    /// When `len` bytes sent now arrive.
    pub(super) fn arrival(
        &mut self,
        (from, to): (HostId, HostId),
        len: usize,
        now: Micros,
        rng: &mut Rng,
    ) -> Micros {
        let link = self.get(from, to);
        let wire = (len as u64).saturating_mul(1_000_000) / link.bytes_per_second.max(1);
        let busy = self.busy_until.entry((from, to)).or_default();
        let sent = now.max(*busy).saturating_add(wire);
        *busy = sent;
        let mut delay = rng.between(link.latency_us.0, link.latency_us.1);
        let mut losses = 0;
        while losses < LOSSES_MAX && rng.chance(link.loss_ppm) {
            delay += RETRANSMIT_US << losses;
            losses += 1;
        }
        sent.saturating_add(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_queue_behind_each_other_on_a_slow_link() {
        let mut links = Links::default();
        let slow = Link {
            latency_us: (1_000, 1_000),
            bytes_per_second: 1_000_000,
            ..Link::default()
        };
        links.set(1, 2, Some(slow));
        let mut rng = Rng::new(1, "test");
        assert_eq!(links.arrival((1, 2), 500, 0, &mut rng), 1_500);
        assert_eq!(links.arrival((1, 2), 500, 0, &mut rng), 2_000);
        let back = links.arrival((2, 1), 500, 0, &mut rng);
        assert!((1_000..=3_004).contains(&back), "{back}");
    }

    #[test]
    fn loss_is_delay() {
        let mut links = Links::default();
        links.set_usual(Link {
            latency_us: (1_000, 1_000),
            loss_ppm: 1_000_000,
            ..Link::default()
        });
        let mut rng = Rng::new(1, "test");
        let all: Micros = (0..LOSSES_MAX).map(|n| RETRANSMIT_US << n).sum();
        assert_eq!(links.arrival((1, 2), 0, 0, &mut rng), 1_000 + all);
    }
}
