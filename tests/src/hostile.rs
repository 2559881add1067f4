//! Bytes that no honest client or peer would send.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// A source of bad luck that a failed test can be repeated with.
#[must_use]
pub fn luck(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Random bytes, fewer than `most`.
pub fn noise(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let len = rng.random_range(0..most);
    (0..len).map(|_| rng.random()).collect()
}

/// The bytes with a few bits flipped, or their end cut off, or noise in their midst.
pub fn damage(good: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bad = good.to_vec();
    if bad.is_empty() {
        return noise(rng, 64);
    }
    let at = rng.random_range(0..bad.len());
    match rng.random_range(0..10) {
        0..3 => bad.truncate(at),
        3 => {
            let noise = noise(rng, 64);
            bad.splice(at..at, noise);
        }
        _ => {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bad.len());
                bad[at] ^= 1 << rng.random_range(0..8);
            }
        }
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_changes_something_and_can_be_repeated() {
        let good = vec![7; 100];
        let run = |seed| {
            let mut rng = luck(seed);
            (0..50).map(|_| damage(&good, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).iter().filter(|bad| **bad != good).count() > 45);
    }
}
