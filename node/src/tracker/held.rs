//! What the IPFS node lists, kept small: eight bytes per pin, so ten million of them take 80 MB for
//! the length of a walk.
//!
//! A pin is kept as the start of a salted hash. Two of ten million share theirs once in some hundred
//! thousand walks, nobody can aim at it, and then a pin that is missing counts as held until
//! the next walk, whose salt is another.

use futures::TryStreamExt;
use ipfs_cluster_protocol::{id::Cid, limits::LISTED_PINS_MAX, pin::PinMode};
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::ipfs::{IpfsError, SharedIpfs};

/// The keys are spread over so many lists: while one grows, the others are not copied.
const PARTS: usize = 256;

/// The pins of an IPFS node at one moment.
#[derive(Debug)]
pub(super) struct Held {
    salt: [u8; 16],
    recursive: Keys,
    direct: Keys,
}

/// A set of keys, filled first and searched then.
#[derive(Debug)]
struct Keys {
    /// By their first byte.
    parts: Vec<Vec<u64>>,
    len: usize,
}

impl Keys {
    fn new() -> Self {
        Self {
            parts: vec![Vec::new(); PARTS],
            len: 0,
        }
    }

    fn part(key: u64) -> usize {
        usize::from(key.to_be_bytes()[0])
    }

    fn push(&mut self, key: u64) {
        self.parts[Self::part(key)].push(key);
        self.len += 1;
    }

    fn sort(&mut self) {
        for part in &mut self.parts {
            part.sort_unstable();
            part.shrink_to_fit();
        }
    }

    fn contains(&self, key: u64) -> bool {
        self.parts[Self::part(key)].binary_search(&key).is_ok()
    }
}

impl Held {
    fn new() -> Self {
        Self {
            salt: rand::rng().random(),
            recursive: Keys::new(),
            direct: Keys::new(),
        }
    }

    /// How a CID is pinned, if it is.
    pub(super) fn get(&self, cid: &Cid) -> Option<PinMode> {
        let key = self.key(cid);
        if self.recursive.contains(key) {
            Some(PinMode::Recursive)
        } else if self.direct.contains(key) {
            Some(PinMode::Direct)
        } else {
            None
        }
    }

    fn push(&mut self, cid: &Cid, mode: PinMode) {
        let key = self.key(cid);
        match mode {
            PinMode::Recursive => self.recursive.push(key),
            PinMode::Direct => self.direct.push(key),
        }
    }

    fn len(&self) -> usize {
        self.recursive.len + self.direct.len
    }

    fn key(&self, cid: &Cid) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.salt);
        hash.update(cid.to_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut start = [0; 8];
        start.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(start)
    }
}

/// All pins of the IPFS node; none if it does not say or has too many, and then each pin is asked
/// for by itself.
pub(super) async fn list(ipfs: SharedIpfs) -> Option<Held> {
    match listed(&ipfs).await {
        Ok(held) => held,
        Err(e) => {
            tracing::info!(error = %e, "the IPFS node does not list its pins");
            None
        }
    }
}

async fn listed(ipfs: &SharedIpfs) -> Result<Option<Held>, IpfsError> {
    let mut held = Held::new();
    let mut pins = ipfs.pin_ls().await?;
    while let Some((cid, mode)) = pins.try_next().await? {
        if held.len() >= LISTED_PINS_MAX {
            tracing::info!(max = LISTED_PINS_MAX, "the IPFS node has too many pins");
            return Ok(None);
        }
        held.push(&cid, mode);
    }
    held.recursive.sort();
    held.direct.sort();
    Ok(Some(held))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cid(n: u32) -> Cid {
        let digest = [&n.to_be_bytes(), [7; 28].as_slice()].concat();
        Cid::from_bytes(&[&[0x01, 0x55, 0x12, 0x20], digest.as_slice()].concat()).unwrap()
    }

    #[test]
    fn what_was_listed_is_found_again_in_eight_bytes_each() {
        let mut held = Held::new();
        let pins = 100_000;
        for n in 0..pins {
            let mode = if n % 10 == 0 {
                PinMode::Direct
            } else {
                PinMode::Recursive
            };
            held.push(&cid(n), mode);
        }
        held.recursive.sort();
        held.direct.sort();
        for n in (0..pins).step_by(7) {
            let mode = held.get(&cid(n));
            assert_eq!(mode == Some(PinMode::Direct), n % 10 == 0, "{n}");
            assert!(mode.is_some(), "{n}");
        }
        assert!((pins..2 * pins).all(|n| held.get(&cid(n)).is_none()));
        let room = |keys: &Keys| keys.parts.iter().map(Vec::capacity).sum::<usize>();
        assert_eq!(room(&held.recursive) + room(&held.direct), pins as usize);
    }
}
