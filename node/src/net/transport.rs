//! From the door's raw pipes to multiplexed, authenticated connections:
//! secret (pnet) → greeting check → noise → watch for silence → yamux.

use std::{io, time::Duration};

use ipfs_cluster_protocol::limits;
use libp2p::{
    PeerId, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade::Version,
    },
    identity::Keypair,
    noise, pnet, yamux,
};

use super::{
    bandwidth::Meters,
    greeting::{Greeting, name_handshake_error},
    liveness::{Pings, Watched},
};
use crate::env::RawPipe;

/// How long a connection that arrives may take to introduce itself.
const INBOUND_HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// What the layers need.
pub(super) struct Layers<'a> {
    pub(super) keys: &'a Keypair,
    pub(super) psk: Option<[u8; 32]>,
    pub(super) pings: Pings,
    pub(super) meters: Meters,
    /// How long a connection may bring nothing.
    pub(super) silence_max: Duration,
    /// Connecting and the handshake together.
    pub(super) dial_timeout: Duration,
}

pub(super) fn build(
    pipes: Boxed<RawPipe>,
    layers: Layers<'_>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let noise = noise::Config::new(layers.keys)?;
    let psk = layers
        .psk
        .map(|key| pnet::PnetConfig::new(pnet::PreSharedKey::new(key)));
    let (pings, silence_max) = (layers.pings, layers.silence_max);
    let meters = layers.meters;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(limits::NET_STREAMS_PER_CONNECTION_MAX);
    // V1Lazy saves a round trip each for noise and yamux. It is safe for both: only one protocol
    // is proposed, and the side that proposes it speaks first.
    let upgraded = pipes
        .and_then(move |pipe, _| greet(meters.pipe(pipe), psk))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex_ext(move |peer: &PeerId, _: &_| Watched {
            muxer: yamux.clone(),
            peer: *peer,
            pings: pings.clone(),
            silence_max,
        })
        .boxed();
    let inbound = TransportTimeout::with_ingoing_timeout(upgraded, INBOUND_HANDSHAKE_DEADLINE);
    Ok(TransportTimeout::with_outgoing_timeout(inbound, layers.dial_timeout).boxed())
}

async fn greet(pipe: RawPipe, psk: Option<pnet::PnetConfig>) -> io::Result<RawPipe> {
    Ok(match psk {
        None => Box::new(Greeting::new(pipe, false)),
        Some(psk) => {
            let pipe = psk.handshake(pipe).await.map_err(name_handshake_error)?;
            Box::new(Greeting::new(pipe, true))
        }
    })
}
