//! A behaviour that hands out raw bitswap streams.
//!
//! Kubo opens a stream per message, in bursts: an accepted stream is never dropped here while its
//! connection lasts; how many there are is bounded by the multiplexer.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    future,
    task::{Context, Poll, Waker},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, SubstreamProtocol, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound},
    },
};
use tokio::sync::oneshot;

use super::OpenError;
use crate::ipfs::embedded::bitswap::Version;

/// How long the negotiation of one stream may take.
const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Newest first: the first that both sides know is taken.
const PROTOCOLS: [(Version, StreamProtocol); 4] = [
    (Version::V1_2, StreamProtocol::new("/ipfs/bitswap/1.2.0")),
    (Version::V1_1, StreamProtocol::new("/ipfs/bitswap/1.1.0")),
    (Version::V1_0, StreamProtocol::new("/ipfs/bitswap/1.0.0")),
    (Version::V1_0, StreamProtocol::new("/ipfs/bitswap")),
];

/// Where a stream that was asked for goes.
pub(super) type Reply = oneshot::Sender<Result<(Version, Stream), OpenError>>;

/// A protocol's name and what it stands for.
#[derive(Debug, Clone)]
pub(super) struct Named(Version, StreamProtocol);

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        self.1.as_ref()
    }
}

/// Offers and takes every version.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnyVersion;

impl UpgradeInfo for AnyVersion {
    type Info = Named;
    type InfoIter = std::array::IntoIter<Named, 4>;

    fn protocol_info(&self) -> Self::InfoIter {
        PROTOCOLS.map(|(v, p)| Named(v, p)).into_iter()
    }
}

impl InboundUpgrade<Stream> for AnyVersion {
    type Output = (Version, Stream);
    type Error = Infallible;
    type Future = future::Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: Named) -> Self::Future {
        future::ready(Ok((name.0, stream)))
    }
}

impl OutboundUpgrade<Stream> for AnyVersion {
    type Output = (Version, Stream);
    type Error = Infallible;
    type Future = future::Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: Named) -> Self::Future {
        future::ready(Ok((name.0, stream)))
    }
}

/// What the swarm's owner is told.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) peer: PeerId,
    pub(super) version: Version,
    pub(super) stream: Stream,
}

/// The behaviour.
#[derive(Debug, Default)]
pub(super) struct Behaviour {
    /// Open connections per peer, oldest first.
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    pending: VecDeque<ToSwarm<Incoming, Reply>>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// Opens a stream on the oldest connection to the peer.
    pub(super) fn open(&mut self, peer_id: PeerId, reply: Reply) {
        let Some(connection) = self.connections.get(&peer_id).and_then(|c| c.first()) else {
            let _ = reply.send(Err(OpenError::NotConnected));
            return;
        };
        self.pending.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(*connection),
            event: reply,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                let connections = self.connections.entry(e.peer_id).or_default();
                connections.push(e.connection_id);
            }
            FromSwarm::ConnectionClosed(e) => {
                if let Some(connections) = self.connections.get_mut(&e.peer_id) {
                    connections.retain(|c| *c != e.connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&e.peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (version, stream): (Version, Stream),
    ) {
        self.pending.push_back(ToSwarm::GenerateEvent(Incoming {
            peer,
            version,
            stream,
        }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Incoming, Reply>> {
        if let Some(event) = self.pending.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Handler {
    accepted: VecDeque<(Version, Stream)>,
    wanted: VecDeque<Reply>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Reply;
    type ToBehaviour = (Version, Stream);
    type InboundProtocol = AnyVersion;
    type OutboundProtocol = AnyVersion;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyVersion> {
        SubstreamProtocol::new(AnyVersion, ()).with_timeout(NEGOTIATION_TIMEOUT)
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<AnyVersion, Reply, (Version, Stream)>> {
        if let Some(stream) = self.accepted.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        while let Some(reply) = self.wanted.pop_front() {
            if !reply.is_closed() {
                let protocol = SubstreamProtocol::new(AnyVersion, reply);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: protocol.with_timeout(NEGOTIATION_TIMEOUT),
                });
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, reply: Reply) {
        self.wanted.push_back(reply);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, AnyVersion, AnyVersion, (), Reply>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(inbound) => {
                self.accepted.push_back(inbound.protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: reply,
            }) => {
                let _ = reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                let _ = reply.send(Err(OpenError::Failed(error.to_string())));
            }
            _ => {}
        }
    }
}
