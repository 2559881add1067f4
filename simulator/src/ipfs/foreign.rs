//! What users of a Kubo have pinned on it themselves, past the cluster: none of the cluster's
//! business.

use ipfs_cluster_node::ipfs::{IpfsError, IpfsNode as _, PinRequest, embedded::Embedded};
use ipfs_cluster_protocol::{id::Cid, pin::PinMode};

use crate::workload;

/// Numbers of their content: far from those that clients of the cluster pin.
const NUMBERS: std::ops::Range<u64> = 9_000_001..9_000_004;

/// The CIDs, the same on every Kubo.
#[must_use]
pub fn foreign_pins() -> Vec<Cid> {
    NUMBERS.filter_map(workload::cid).collect()
}

/// Pins them, as a user does on the first day; in a later life they are there already.
pub(super) async fn pin(node: &Embedded) -> Result<(), IpfsError> {
    let block = |n| Some((workload::cid(n)?, workload::bytes(n).into()));
    node.block_put(NUMBERS.filter_map(block).collect()).await?;
    for cid in foreign_pins() {
        let request = PinRequest::new(cid, PinMode::Recursive, "my own");
        node.pin(request, Box::new(|_| {})).await?;
    }
    Ok(())
}
