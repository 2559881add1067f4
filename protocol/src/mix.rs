//! A fast, fixed 64-bit mix: for the state's rolling hash and for salted tie-breaks.
//!
//! Its values are compared between peers and versions, so it must never change. It is no
//! cryptographic hash: nothing secret or contested may rest on it.

/// Folds byte strings; their lengths count, so that boundaries do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mix(u64);

/// Odd constants with well spread bits (the golden ratio, and the finalizer of splitmix64).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const FINAL_A: u64 = 0xbf58_476d_1ce4_e5b9;
const FINAL_B: u64 = 0x94d0_49bb_1331_11eb;

impl Mix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn word(&mut self, word: u64) {
        self.0 = scramble(self.0.wrapping_add(STEP) ^ word);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.word(u64::from_le_bytes(*chunk));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            self.word(u64::from_le_bytes(last));
        }
    }

    pub(crate) fn finish(self) -> u64 {
        scramble(self.0)
    }
}

/// The finalizer of splitmix64: every bit in changes half of the bits out.
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(FINAL_A);
    x = (x ^ (x >> 27)).wrapping_mul(FINAL_B);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(parts: &[&[u8]]) -> u64 {
        let mut mix = Mix::new(7);
        for part in parts {
            mix.write(part);
        }
        mix.finish()
    }

    #[test]
    fn values_are_fixed_for_all_versions() {
        assert_eq!(mixed(&[]), 0x12ae_3023_7b17_df14);
        assert_eq!(mixed(&[b"cluster-pin", b"pin"]), 0x441e_0b62_f08b_cc28);
    }

    #[test]
    fn order_boundaries_and_padding_count() {
        let all = [
            mixed(&[b"ab", b"c"]),
            mixed(&[b"a", b"bc"]),
            mixed(&[b"abc"]),
            mixed(&[b"c", b"ab"]),
            mixed(&[b"abc\0"]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
