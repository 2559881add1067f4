//! A row as stored: four bytes of checksum over key and value, then the value.
//!
//! redb's own page checksums are looked at only when a file is repaired or verified as a whole,
//! which takes too long for a large state: the rows carry their own.

/// FNV-1a over key and value: finds flipped bits, is not meant against forgery.
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key.iter().chain([&0xff]).chain(value) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "folding 64 bits into 32 is the point"
    )]
    let folded = (hash ^ (hash >> 32)) as u32;
    folded
}

/// The stored form of a value.
pub(super) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + value.len());
    out.extend_from_slice(&checksum(key, value).to_be_bytes());
    out.extend_from_slice(value);
    out
}

/// The value of a stored row, unless key or value differ from what was sealed.
pub(super) fn unseal<'a>(key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, value) = stored.split_at_checked(4)?;
    (sum == checksum(key, value).to_be_bytes()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::{seal, unseal};

    #[test]
    fn every_flipped_bit_of_key_or_value_is_noticed() {
        let (key, value) = (b"key".as_slice(), b"some value".as_slice());
        let sealed = seal(key, value);
        assert_eq!(unseal(key, &sealed), Some(value));
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(key, &bad), None, "bit {bit}");
        }
        assert_eq!(unseal(b"kez", &sealed), None);
        assert_eq!(unseal(key, b"abc"), None);
    }
}
