//! Folders too large for one block: a trie over the hashes of the names.
//!
//! A node takes the next bits of a name's hash (MurmurHash3, x64, the first 64 of 128 bits; the
//! highest bits first) for the place of its entry among `fanout`. Where two names want one place, a
//! node of the next level stands there. Links are called by their place in upper-case hexadecimal
//! digits, all of the same width, followed by the name of the entry, if it is one. A bitmap says
//! which places are taken. The format is that of the UnixFS specification and of Kubo's `boxo`.

use super::{
    Block, Root,
    dag_pb::{Link, Node},
    directory::emit,
    options::{Naming, OptionsError},
    unixfs::{Attributes, Kind, UnixFs},
};

/// Multihash code of the hash function.
pub(super) const MURMUR3: u64 = 0x22;

/// The hash of a name, used up from its highest bits down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameHash {
    hash: u64,
    /// Bits used.
    used: u32,
}

impl NameHash {
    pub(super) fn new(name: &[u8]) -> Self {
        // Reading from memory does not fail.
        let hash = murmur3::murmur3_x64_128(&mut &*name, 0).unwrap_or_default();
        Self {
            hash: hash as u64,
            used: 0,
        }
    }

    /// The place in the next node; None once too few bits are left.
    pub(super) fn next(&mut self, fanout: usize) -> Option<usize> {
        let bits = fanout.ilog2();
        let used = self.used + bits;
        let left = u64::BITS.checked_sub(used)?;
        self.used = used;
        Some((self.hash >> left) as usize & (fanout - 1))
    }
}

/// Digits of a place.
pub(super) fn digits(fanout: usize) -> usize {
    let highest = fanout.saturating_sub(1).max(1);
    (highest.ilog2() / 4 + 1) as usize
}

/// An entry on its way to its node.
struct Entry<'a> {
    name: &'a [u8],
    root: Root,
    hash: NameHash,
}

/// Makes the blocks of a folder, its root last. `fanout` was checked.
pub(super) fn build<'a>(
    entries: impl Iterator<Item = (&'a [u8], Root)>,
    (naming, fanout): (&Naming, usize),
    attributes: Attributes,
    out: &mut Vec<Block>,
) -> Result<Root, OptionsError> {
    let entries = entries.map(|(name, root)| Entry {
        name,
        root,
        hash: NameHash::new(name),
    });
    shard(entries.collect(), (naming, fanout), attributes, out)
}

/// One node and what is below it. It calls itself once per level: at most 22 times.
fn shard(
    entries: Vec<Entry<'_>>,
    (naming, fanout): (&Naming, usize),
    attributes: Attributes,
    out: &mut Vec<Block>,
) -> Result<Root, OptionsError> {
    let mut places: Vec<Vec<Entry<'_>>> = Vec::new();
    places.resize_with(fanout, Vec::new);
    for mut entry in entries {
        let place = entry.hash.next(fanout).ok_or(OptionsError::TooDeep)?;
        places[place].push(entry);
    }
    let mut bitmap = vec![0u8; fanout / 8];
    let mut links = Vec::new();
    let width = digits(fanout);
    for (place, mut entries) in places.into_iter().enumerate() {
        if entries.is_empty() {
            continue;
        }
        // The bitmap is one large number: the first place is its lowest bit.
        let byte = bitmap.len() - 1 - place / 8;
        bitmap[byte] |= 1 << (place % 8);
        let mut name = format!("{place:0width$X}").into_bytes();
        let root = match entries.as_mut_slice() {
            [only] => {
                name.extend_from_slice(only.name);
                only.root
            }
            _ => shard(entries, (naming, fanout), Attributes::default(), out)?,
        };
        links.push(Link {
            cid: root.cid,
            name,
            dag_size: root.dag_size,
        });
    }
    let mut fs = UnixFs::new(Kind::HamtShard);
    let zeros = bitmap.iter().take_while(|b| **b == 0).count();
    fs.data = Some(bitmap.split_off(zeros));
    fs.hash_type = Some(MURMUR3);
    fs.fanout = Some(fanout as u64);
    fs.attributes = attributes;
    let below = links.iter().map(|l| l.dag_size);
    let below = below.fold(0, u64::saturating_add);
    let node = Node {
        links,
        data: Some(fs.encode()),
    };
    Ok(emit(naming, &node, below, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hash_to_known_numbers() {
        // From the reference implementation of MurmurHash3_x64_128 with seed 0.
        assert_eq!(NameHash::new(b"").hash, 0);
        assert_eq!(NameHash::new(b"hello").hash, 0xcbd8_a7b3_41bd_9b02);
    }

    #[test]
    fn bits_are_taken_from_the_top() {
        let mut hash = NameHash {
            hash: 0x0123_4567_89ab_cdef,
            used: 0,
        };
        assert_eq!(hash.next(256), Some(0x01));
        assert_eq!(hash.next(16), Some(0x2));
        assert_eq!(hash.next(1024), Some(0x345 >> 2));
        hash.used = 56;
        assert_eq!(hash.next(256), Some(0xef));
        assert_eq!(hash.next(8), None);
    }

    #[test]
    fn places_have_as_many_digits_as_the_highest() {
        let widths = [8, 16, 32, 256, 512, 1024].map(digits);
        assert_eq!(widths, [1, 1, 2, 2, 3, 3]);
    }
}
