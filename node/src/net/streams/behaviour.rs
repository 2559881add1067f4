//! Which connections there are, and which one a new stream goes to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, ToSwarm},
};

use super::{InboundSender, Reply, StreamError, ToHandler, handler::Handler};
use crate::net::proto::Proto;

/// Hands out raw streams.
#[derive(Debug)]
pub(in crate::net) struct Behaviour {
    accepted: InboundSender,
    /// What others may open.
    offered: &'static [Proto],
    /// Open connections per peer, oldest first.
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    /// Peers whose connections stay open while idle.
    kept: BTreeSet<PeerId>,
    pending: VecDeque<ToSwarm<Infallible, ToHandler>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(in crate::net) fn new(accepted: InboundSender) -> Self {
        Self::offering(accepted, &Proto::ALL)
    }

    /// One on whose connections others may open these alone.
    pub(in crate::net) fn offering(accepted: InboundSender, offered: &'static [Proto]) -> Self {
        Self {
            accepted,
            offered,
            connections: BTreeMap::new(),
            kept: BTreeSet::new(),
            pending: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream on the newest connection to the peer: an older one may be dead and not be
    /// known to be, if the peer was cut off and came back.
    pub(in crate::net) fn open(&mut self, peer: PeerId, proto: Proto, reply: Reply) {
        let Some(connection) = self.connections.get(&peer).and_then(|c| c.last()) else {
            let _ = reply.send(Err(StreamError::NotConnected));
            return;
        };
        let connection = *connection;
        self.tell(peer, connection, ToHandler::Open(proto, reply));
    }

    /// Sets whose connections stay open while idle.
    pub(in crate::net) fn keep(&mut self, peers: BTreeSet<PeerId>) {
        let changed: Vec<_> = self.kept.symmetric_difference(&peers).copied().collect();
        for peer in changed {
            let keep = peers.contains(&peer);
            let connections = self.connections.get(&peer).cloned().unwrap_or_default();
            for connection in connections {
                self.tell(peer, connection, ToHandler::KeepAlive(keep));
            }
        }
        self.kept = peers;
    }

    fn tell(&mut self, peer_id: PeerId, connection: ConnectionId, event: ToHandler) {
        self.pending.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        let kept = self.kept.contains(&peer);
        Handler::new(peer, self.offered, self.accepted.clone(), kept)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(peer))
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

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, ToHandler>> {
        if let Some(event) = self.pending.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
