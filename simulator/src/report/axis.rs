//! From virtual time to a place on the page.

use crate::world::Micros;

/// Width of the drawing.
pub(super) const WIDTH: f64 = 1_160.0;
/// Where the lanes begin; names stand left of it.
pub(super) const LEFT: f64 = 104.0;
/// Ticks at most.
const TICKS_MAX: u64 = 14;

/// The axis of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    end: Micros,
}

impl Axis {
    pub(super) fn new(end: Micros) -> Self {
        Self { end: end.max(1) }
    }

    /// Where a moment lies.
    pub(super) fn x(self, at: Micros) -> f64 {
        LEFT + (WIDTH - LEFT - 8.0) * (at.min(self.end) as f64 / self.end as f64)
    }

    /// Moments worth a number, in seconds.
    pub(super) fn ticks(self) -> Vec<u64> {
        let seconds = self.end / 1_000_000;
        let steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200];
        let step = steps.into_iter().find(|step| seconds / step <= TICKS_MAX);
        let step = step.unwrap_or(seconds / TICKS_MAX + 1);
        (0..=seconds / step).map(|n| n * step).collect()
    }
}

/// A moment in words: `83.5 s`.
pub(super) fn seconds(at: Micros) -> String {
    format!("{}.{} s", at / 1_000_000, at / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        for minutes in [1, 3, 20, 90] {
            let ticks = Axis::new(minutes * 60_000_000).ticks();
            assert!((5..=15).contains(&ticks.len()), "{ticks:?}");
            assert_eq!(ticks[0], 0);
        }
        let axis = Axis::new(10);
        assert!(axis.x(0) < axis.x(5) && axis.x(5) < axis.x(10));
        assert!(axis.x(99) <= WIDTH);
    }
}
