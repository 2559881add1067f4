//! In the place of `base2histogram`, for openraft's statistics.
//!
//! That crate builds tables for 16 scales, 26 MiB of them, as soon as one histogram is made, and openraft
//! makes some in every process and uses one scale. This one computes where a value belongs. It has what
//! openraft calls and no more, under the same names: should a later version of openraft call something
//! else, it does not compile, and this crate can go once the tables have gone.

use std::{fmt, marker::PhantomData};

/// Buckets between a power of two and the next.
const STEPS: u64 = 4;
/// Values below this have a bucket each.
const EXACT: u64 = STEPS;
/// Of all values of 64 bits.
const BUCKETS: usize = (EXACT + (64 - STEPS.trailing_zeros() as u64) * STEPS) as usize;

/// How often values of each size were seen. `T` is what the crate in whose place this stands marks
/// slots of a sliding window with; here is one window, of all time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Vec<u64>,
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            slots: PhantomData,
        }
    }
}

/// The bucket of a value: the place of its highest bit, and the two bits below.
fn bucket(value: u64) -> usize {
    if value < EXACT {
        return usize::try_from(value).unwrap_or_default();
    }
    let below = u64::from(value.ilog2() - STEPS.trailing_zeros());
    let step = (value >> below) - STEPS;
    usize::try_from(EXACT + below * STEPS + step).unwrap_or_default()
}

/// The smallest value of a bucket.
fn least(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let (below, step) = ((bucket - EXACT) / STEPS, (bucket - EXACT) % STEPS);
    (STEPS + step) << below
}

impl<T> Histogram<T> {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count = count.saturating_add(times);
        }
    }

    /// Values counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// The least value of the bucket in which so many thousandths of all values end.
    fn permille(&self, permille: u64) -> u64 {
        let (total, mut seen) = (u128::from(self.total()), 0);
        let wanted = (total * u128::from(permille)).div_ceil(1000).max(1);
        let found = self.counts.iter().position(|n| {
            seen += u128::from(*n);
            seen >= wanted
        });
        found.map_or(0, least)
    }

    /// Where the values lie.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.permille(1),
            p1: self.permille(10),
            p5: self.permille(50),
            p10: self.permille(100),
            p50: self.permille(500),
            p90: self.permille(900),
            p99: self.permille(990),
            p99_9: self.permille(999),
        }
    }
}

/// Where the values of a histogram lie: each number is a value that so many percent of them do not
/// exceed by more than a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PercentileStats {
    /// Values counted.
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples,
            p1,
            p10,
            p50,
            p90,
            p99,
            ..
        } = self;
        write!(
            f,
            "[samples: {samples}, P0.1: {}, P1: {p1}, P5: {}, P10: {p10}, P50: {p50}, P90: {p90}, P99: {p99}, P99.9: {}]",
            self.p0_1, self.p5, self.p99_9
        )
    }
}

/// Several histograms, for a reader.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, Histogram)>);

impl AsciiChart {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    #[must_use]
    #[allow(
        clippy::should_implement_trait,
        reason = "the name that openraft calls"
    )]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.0.push((name.into(), histogram));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.0 {
            writeln!(f, "{name:>22}: {}", histogram.percentile_stats())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bucket_that_begins_at_most_a_quarter_below_it() {
        let powers = (0..64).flat_map(|n| [(1 << n) - 1, 1 << n, (1 << n) + 1, 3 << n >> 1]);
        for value in powers.chain(0..5000).chain([u64::MAX - 1, u64::MAX]) {
            let at = bucket(value);
            assert!(at < BUCKETS, "{value}");
            assert!(
                least(at) <= value && value - least(at) <= value / 5,
                "{value}"
            );
            assert!(at + 1 == BUCKETS || value < least(at + 1), "{value}");
        }
    }

    #[test]
    fn percentiles_are_where_the_values_are() {
        let mut seen: Histogram = Histogram::new();
        assert_eq!(seen.percentile_stats().p50, 0);
        seen.record_n(2, 90);
        seen.record_n(1000, 9);
        seen.record(u64::MAX);
        let stats = seen.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p90), (100, 2, 2));
        assert_eq!((stats.p99, stats.p99_9), (896, 7 << 61));
    }
}
