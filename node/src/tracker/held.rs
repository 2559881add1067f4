//! What the IPFS node lists, kept small: a million pins take 16 MB.

use futures::TryStreamExt;
use ipfs_cluster_protocol::{id::Cid, limits::LISTED_PINS_MAX, pin::PinMode};
use sha2::{Digest, Sha256};

use crate::ipfs::{IpfsError, SharedIpfs};

type Key = [u8; 16];

/// The pins of an IPFS node at one moment.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Sorted.
    recursive: Vec<Key>,
    direct: Vec<Key>,
}

impl Held {
    /// How a CID is pinned, if it is.
    pub(super) fn get(&self, cid: &Cid) -> Option<PinMode> {
        let key = key(cid);
        if self.recursive.binary_search(&key).is_ok() {
            Some(PinMode::Recursive)
        } else if self.direct.binary_search(&key).is_ok() {
            Some(PinMode::Direct)
        } else {
            None
        }
    }
}

fn key(cid: &Cid) -> Key {
    let digest: [u8; 32] = Sha256::digest(cid.to_bytes()).into();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
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
    let mut held = Held::default();
    let mut pins = ipfs.pin_ls().await?;
    while let Some((cid, mode)) = pins.try_next().await? {
        if held.recursive.len() + held.direct.len() >= LISTED_PINS_MAX {
            tracing::info!(max = LISTED_PINS_MAX, "the IPFS node has too many pins");
            return Ok(None);
        }
        match mode {
            PinMode::Recursive => held.recursive.push(key(&cid)),
            PinMode::Direct => held.direct.push(key(&cid)),
        }
    }
    held.recursive.sort_unstable();
    held.direct.sort_unstable();
    Ok(Some(held))
}
