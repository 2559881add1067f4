//! Randomness of the simulation itself: one stream per purpose, so that a new draw in one place
//! does not shift all others.

use crate::interpose::mix;

/// A seeded stream of numbers.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The stream of `seed` for one purpose.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let start = purpose
            .bytes()
            .fold(seed, |state, byte| mix(state ^ u64::from(byte)).1);
        Self(start)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        let (next, drawn) = mix(self.0);
        self.0 = next;
        drawn
    }

    /// A number of `low..=high`; `low` when the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1).max(1);
        low + self.draw() % span
    }

    /// True `ppm` times in a million.
    pub fn chance(&mut self, ppm: u64) -> bool {
        self.draw() % 1_000_000 < ppm
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let last = items.len().checked_sub(1)?;
        items.get(usize::try_from(self.between(0, last as u64)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_streams_of_their_own() {
        let draw = |seed, purpose| Rng::new(seed, purpose).draw();
        assert_eq!(draw(1, "network"), draw(1, "network"));
        assert_ne!(draw(1, "network"), draw(1, "faults"));
        assert_ne!(draw(1, "network"), draw(2, "network"));
    }

    #[test]
    fn both_ends_of_a_range_come_up() {
        let mut rng = Rng::new(7, "test");
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| rng.between(3, 6)).collect();
        assert_eq!(drawn, [3, 4, 5, 6].into());
        assert_eq!(rng.between(9, 1), 9);
    }
}
