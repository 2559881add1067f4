//! How a peer comes to be a member: it is one already, it joins through the addresses it was given,
//! or it forms a cluster of its own.

use std::{collections::BTreeSet, time::Duration};

use ipfs_cluster_protocol::id::PeerId;
use multiaddr::Multiaddr;
use tokio::time::Instant;

use super::error::StartError;
use crate::{
    consensus::Consensus,
    net::{DialError, Net, Proto},
    storage::Identity,
};

/// How long a peer tries to join before it gives up: its supervisor starts it again.
const JOIN_MAX: Duration = Duration::from_secs(60);
/// Between two rounds over addresses that do not answer.
const DIAL_PAUSE: Duration = Duration::from_millis(500);

/// Returns once this peer is a member. With state, `bootstrap` is only a list of addresses.
pub(super) async fn member(
    consensus: &Consensus,
    net: &Net,
    bootstrap: &[Multiaddr],
) -> Result<Identity, StartError> {
    if let Some(identity) = consensus.identity() {
        return Ok(identity);
    }
    if bootstrap.is_empty() {
        return Ok(consensus.form().await?);
    }
    let deadline = Instant::now() + JOIN_MAX;
    let via = reached(net, bootstrap, deadline).await?;
    Ok(consensus.join(&via, deadline).await?)
}

/// Opens a stream to the peers behind the addresses that a peer with state was given: one of another
/// cluster is refused there, which names both clusters in both logs. Nothing else would be said to
/// it, and its user would wait for peers that never come. Does nothing after that.
pub(super) async fn greet(net: Net, bootstrap: Vec<Multiaddr>) {
    for address in bootstrap {
        match net.dial(address.clone()).await {
            // Whoever is refused is told and logged by the network layer.
            Ok(peer) => drop(net.open(&peer, Proto::Join).await),
            Err(e) => tracing::info!(%address, error = %e, "bootstrap address not reached"),
        }
    }
    std::future::pending().await
}

/// The peers behind those addresses that answer.
async fn reached(
    net: &Net,
    bootstrap: &[Multiaddr],
    deadline: Instant,
) -> Result<Vec<PeerId>, StartError> {
    loop {
        let mut found = BTreeSet::new();
        let mut failed = None;
        for address in bootstrap {
            match net.dial(address.clone()).await {
                Ok(peer) => drop(found.insert(peer)),
                Err(e) => {
                    tracing::warn!(%address, error = %e, "bootstrap address not reached");
                    failed = Some(e);
                }
            }
        }
        match failed {
            Some(e) if found.is_empty() => {
                if Instant::now() + DIAL_PAUSE >= deadline
                    || matches!(e, DialError::WrongSecret { .. } | DialError::BadAddress(_))
                {
                    return Err(StartError::Bootstrap(e));
                }
                tokio::time::sleep(DIAL_PAUSE).await;
            }
            _ => return Ok(found.into_iter().collect()),
        }
    }
}
