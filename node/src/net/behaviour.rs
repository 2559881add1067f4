//! The behaviours of the cluster's swarm, and their settings.

use std::time::Duration;

use ipfs_cluster_protocol::limits;
use libp2p::{
    connection_limits::{self, ConnectionLimits},
    gossipsub, identify,
    identity::Keypair,
    ping,
    swarm::NetworkBehaviour,
};

use super::{
    config::NetConfig,
    dht,
    error::NetError,
    gossip,
    streams::{self, InboundSender},
};

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    /// First, so that a refused connection reaches no other behaviour.
    pub(super) limits: connection_limits::Behaviour,
    pub(super) streams: streams::Behaviour,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) dht: dht::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
}

pub(super) fn build(
    keys: &Keypair,
    cfg: &NetConfig,
    network: &str,
    accepted: InboundSender,
) -> Result<Behaviour, NetError> {
    let local = keys.public().to_peer_id();
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits::NET_HANDSHAKES_MAX))
        .with_max_pending_outgoing(Some(limits::NET_HANDSHAKES_MAX))
        .with_max_established_per_peer(Some(limits::NET_CONNECTIONS_PER_STRANGER_MAX))
        .with_max_established_incoming(Some(cfg.high_water));
    // Listen addresses are hidden and the advertised ones declared external, so that others are
    // told these alone. No cache of others' addresses: the address book decides what is dialled.
    let identify = identify::Config::new_with_signed_peer_record("ipfs-cluster/1".to_owned(), keys)
        .with_agent_version(concat!("ipfs-cluster-service/", env!("CARGO_PKG_VERSION")).into())
        .with_hide_listen_addrs(true)
        .with_cache_size(0)
        .with_interval(Duration::from_secs(300));
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        streams: streams::Behaviour::new(accepted),
        gossip: gossip::behaviour(local, cfg.gossip_heartbeat)?,
        dht: dht::behaviour(local, network),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(cfg.silence_max / 3)),
    })
}
