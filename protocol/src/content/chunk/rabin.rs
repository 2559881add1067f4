//! Cuts where the Rabin fingerprint of the last 16 bytes has zeros at its end.
//!
//! The polynomial, the window and the way the first bytes of a chunk are skipped are Kubo's
//! (`boxo/chunker`, `whyrusleeping/chunker`); another choice gives other CIDs.

/// The irreducible polynomial, of degree 53.
const POLYNOMIAL: u64 = 17_437_180_132_763_653;
const DEGREE: u32 = 53;
const WINDOW: usize = 16;

/// By the byte that leaves the window: what it still contributes to the fingerprint.
static LEAVING: [u64; 256] = leaving();
/// By the 8 bits above the degree: what clears them and adds their remainder.
static REDUCING: [u64; 256] = reducing();

/// The machine.
#[derive(Debug)]
pub(super) struct Rabin {
    min: usize,
    max: usize,
    /// Bits that are zero at a cut.
    mask: u64,
    window: [u8; WINDOW],
    /// Where in the window the next byte goes.
    at: usize,
    fingerprint: u64,
    /// Bytes of the chunk seen.
    have: usize,
}

impl Rabin {
    /// The three numbers were checked: 16 ≤ min < avg < max.
    pub(super) fn new(min: usize, avg: usize, max: usize) -> Self {
        let mut new = Self {
            min,
            max,
            mask: (1 << avg.max(1).ilog2()) - 1,
            window: [0; WINDOW],
            at: 0,
            fingerprint: 0,
            have: 0,
        };
        new.reset();
        new
    }

    fn reset(&mut self) {
        self.window = [0; WINDOW];
        self.at = 0;
        self.fingerprint = 0;
        self.have = 0;
        self.slide(1);
    }

    fn slide(&mut self, byte: u8) {
        let out = std::mem::replace(&mut self.window[self.at], byte);
        self.at = (self.at + 1) % WINDOW;
        let rest = self.fingerprint ^ LEAVING[usize::from(out)];
        let top = (rest >> (DEGREE - 8)) as usize & 0xff;
        self.fingerprint = ((rest << 8) | u64::from(byte)) ^ REDUCING[top];
    }

    /// See [`super::Cutter::end`].
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        // Only the window before the earliest cut can matter.
        let skipped = (self.min - WINDOW)
            .saturating_sub(self.have)
            .min(bytes.len());
        self.have += skipped;
        for (n, byte) in bytes.iter().enumerate().skip(skipped) {
            self.slide(*byte);
            self.have += 1;
            let cut = self.fingerprint & self.mask == 0 || self.have >= self.max;
            if self.have >= self.min && cut {
                self.reset();
                return Some(n + 1);
            }
        }
        None
    }
}

const fn modulo(mut value: u64) -> u64 {
    while value >> DEGREE != 0 {
        value ^= POLYNOMIAL << (value.ilog2() - DEGREE);
    }
    value
}

const fn leaving() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut hash = modulo(byte as u64);
        let mut zeros = 1;
        while zeros < WINDOW {
            hash = modulo(hash << 8);
            zeros += 1;
        }
        table[byte] = hash;
        byte += 1;
    }
    table
}

const fn reducing() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let high = (byte as u64) << DEGREE;
        table[byte] = modulo(high) | high;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fingerprint from its definition: the window as one polynomial, reduced bit by bit.
    fn fingerprint(window: &[u8]) -> u64 {
        window.iter().fold(0, |hash, b| {
            let mut hash = hash;
            for bit in (0..8).rev() {
                hash = modulo(hash << 1 | u64::from(b >> bit & 1));
            }
            hash
        })
    }

    #[test]
    fn sliding_is_hashing_the_window_anew() {
        let mut rabin = Rabin::new(16, 1 << 40, 1 << 41);
        let bytes: Vec<u8> = (0..500u32).map(|n| (n * n / 7) as u8).collect();
        rabin.window = [0; WINDOW];
        rabin.fingerprint = 0;
        for (n, byte) in bytes.iter().enumerate() {
            rabin.slide(*byte);
            let window = &bytes[(n + 1).saturating_sub(WINDOW)..=n];
            assert_eq!(rabin.fingerprint, fingerprint(window), "{n}");
        }
    }
}
