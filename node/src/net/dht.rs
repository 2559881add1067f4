//! Kademlia: finds the addresses of peers that nobody told us, by asking those we know.
//!
//! Only peer routing is used; records that others put are not kept. The routing table holds what
//! peers say of themselves and nothing else: an address that merely worked for us is not passed on.

use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    kad::{self, store::MemoryStore},
};
use sha2::{Digest as _, Sha256};

/// How long one search may take.
const SEARCH_DEADLINE: Duration = Duration::from_secs(5);
/// How often the routing table is refreshed.
const REFRESH_INTERVAL: Duration = Duration::from_secs(120);

/// The behaviour.
pub(super) type Behaviour = kad::Behaviour<MemoryStore>;

/// The name of the network that peers of one secret form.
pub(super) fn network_name(psk: Option<&[u8; 32]>) -> String {
    let digest = Sha256::digest(psk.map_or(&[][..], |key| &key[..]));
    hex::encode(digest.get(..8).unwrap_or_default())
}

/// The protocol of the network's DHT.
pub(super) fn protocol(network: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/ipfs-cluster/{network}/kad/1"))
        .expect("it begins with a slash")
}

pub(super) fn behaviour(local: PeerId, network: &str) -> Behaviour {
    let mut config = kad::Config::new(protocol(network));
    config
        .set_query_timeout(SEARCH_DEADLINE)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(Some(REFRESH_INTERVAL));
    let mut behaviour = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
    behaviour.set_mode(Some(kad::Mode::Server));
    behaviour
}

/// Replaces what the routing table says of a peer.
pub(super) fn set_addresses(dht: &mut Behaviour, peer: &PeerId, addresses: &[Multiaddr]) {
    dht.remove_peer(peer);
    for address in addresses {
        dht.add_address(peer, address.clone());
    }
}

/// Takes out of the routing table what the peer did not say of itself.
pub(super) fn keep_only(
    dht: &mut Behaviour,
    peer: &PeerId,
    found: &kad::Addresses,
    said: &[Multiaddr],
) {
    if said.is_empty() {
        return;
    }
    let others: Vec<_> = found
        .iter()
        .filter(|a| !said.contains(&super::addresses::without_peer(a)))
        .cloned()
        .collect();
    for address in others {
        dht.remove_address(peer, &address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_named_after_the_secret_without_telling_it() {
        let name = network_name(Some(&[7; 32]));
        assert_eq!(name.len(), 16);
        assert_ne!(name, network_name(Some(&[8; 32])));
        assert_ne!(name, network_name(None));
        assert!(!name.contains(&hex::encode([7; 8])));
        assert!(protocol(&name).as_ref().ends_with("/kad/1"));
    }
}
