//! Connects this peer's IPFS node to those of the other members, so that pins find their blocks
//! without a search of the whole network.

use ipfs_cluster_protocol::limits;
use std::{collections::BTreeSet, time::Duration};

use ipfs_cluster_protocol::id::PeerId;
use rand::Rng as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{ipfs::SharedIpfs, monitor::Monitor};

/// Between two looks, when no ping says anything new.
const LOOK: Duration = Duration::from_secs(30);
/// Pings that come together are looked at together.
const GATHER: Duration = Duration::from_millis(200);
/// For one address.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// For as long as the peer runs.
pub(super) async fn run(ipfs: SharedIpfs, monitor: Monitor) {
    loop {
        let look_at = Instant::now() + LOOK.mul_f64(rand::rng().random_range(0.8..1.2));
        // Either a ping says something new, or it is time: both mean to look.
        let _ = timeout_at(look_at, monitor.pings_changed()).await;
        sleep(GATHER).await;
        connect_missing(&ipfs, &monitor).await;
    }
}

async fn connect_missing(ipfs: &SharedIpfs, monitor: &Monitor) {
    let wanted: Vec<_> = monitor
        .pings_of_others()
        .into_values()
        .filter_map(|ping| Some((ping.ipfs_id?, ping.ipfs_addresses)))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let connected: BTreeSet<PeerId> = match ipfs.swarm_peers().await {
        Ok(peers) => peers.into_iter().collect(),
        Err(e) => {
            tracing::debug!(error = %e, "the IPFS node does not tell whom it is connected to");
            return;
        }
    };
    for (id, addresses) in wanted.into_iter().filter(|(id, _)| !connected.contains(id)) {
        for address in addresses.into_iter().take(limits::SWARM_ADDRESSES_MAX) {
            match timeout(CONNECT_MAX, ipfs.swarm_connect(address.clone())).await {
                Ok(Ok(())) => break,
                Ok(Err(e)) => tracing::debug!(%id, address, error = %e, "IPFS node not connected"),
                Err(_) => tracing::debug!(%id, address, "IPFS node not connected in time"),
            }
        }
    }
}
