//! Sets of 16-bit numbers on the wire: alternating gap and run length, each a LEB128 number.
//!
//! One set has one encoding, so the bytes can be hashed, and whatever decodes is in bounds.

use roaring::RoaringBitmap;

/// Encodes the numbers of `set`, which are all below 65 536.
pub(super) fn encode(set: &RoaringBitmap) -> Vec<u8> {
    let mut out = Vec::new();
    let mut end = 0; // first number after the last run written
    let mut run: Option<(u32, u32)> = None; // first, length
    for value in set {
        match &mut run {
            Some((first, len)) if *first + *len == value => *len += 1,
            _ => {
                if let Some((first, len)) = run.replace((value, 1)) {
                    put(&mut out, first - end);
                    put(&mut out, len);
                    end = first + len;
                }
            }
        }
    }
    if let Some((first, len)) = run {
        put(&mut out, first - end);
        put(&mut out, len);
    }
    out
}

/// Decodes what [`encode`] wrote; `None` for anything else.
pub(super) fn decode(mut bytes: &[u8]) -> Option<RoaringBitmap> {
    let mut set = RoaringBitmap::new();
    let mut end: u32 = 0;
    while !bytes.is_empty() {
        let first_run = end == 0;
        let gap = take(&mut bytes)?;
        let len = take(&mut bytes)?;
        // A gap of 0 after a run would be a second spelling of a longer run.
        if len == 0 || (gap == 0 && !first_run) {
            return None;
        }
        let first = end.checked_add(gap)?;
        end = first.checked_add(len)?;
        if end > 1 << 16 {
            return None;
        }
        set.insert_range(first..end);
    }
    Some(set)
}

fn put(out: &mut Vec<u8>, mut n: u32) {
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// At most three bytes, enough for 65 536, in their shortest form.
fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut n = 0;
    for i in 0..3 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return (i == 0 || byte != 0).then_some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_block_takes_four_bytes() {
        let full: RoaringBitmap = (0..65_536).collect();
        let bytes = encode(&full);
        assert_eq!(bytes, [0, 0x80, 0x80, 4]);
        assert_eq!(decode(&bytes), Some(full));
    }

    proptest! {
        #[test]
        fn every_set_survives(set in proptest::collection::btree_set(0u32..65_536, 0..500),
                              from in 0u32..65_000, len in 0u32..500) {
            let mut set: RoaringBitmap = set.into_iter().collect();
            set.insert_range(from..from + len);
            prop_assert_eq!(decode(&encode(&set)), Some(set));
        }

        #[test]
        fn what_decodes_has_that_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(set) = decode(&bytes) {
                prop_assert!(set.max().is_none_or(|m| m < 65_536));
                prop_assert_eq!(encode(&set), bytes);
            }
        }
    }
}
