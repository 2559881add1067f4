//! The streams of one connection.

use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use ipfs_cluster_protocol::limits;
use libp2p::{
    PeerId, Stream,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound},
    },
};

use super::{
    Inbound, InboundSender, Reply, StreamError, ToHandler,
    upgrade::{Ask, Offer},
};
use crate::net::proto::Proto;

/// How long the negotiation of one stream may take.
const NEGOTIATION_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(in crate::net) struct Handler {
    peer: PeerId,
    offered: &'static [Proto],
    accepted: InboundSender,
    /// Negotiated, not yet taken by the acceptor.
    waiting: VecDeque<Inbound>,
    /// Asked for, not yet requested from the multiplexer.
    wanted: VecDeque<Asked>,
    /// Requested, not yet negotiated.
    opening: usize,
    keep_alive: bool,
}

/// What travels with a request for a stream.
type Asked = (Proto, Reply);

impl Handler {
    pub(super) const fn new(
        peer: PeerId,
        offered: &'static [Proto],
        accepted: InboundSender,
        keep_alive: bool,
    ) -> Self {
        Self {
            peer,
            offered,
            accepted,
            waiting: VecDeque::new(),
            wanted: VecDeque::new(),
            opening: 0,
            keep_alive,
        }
    }

    fn accept(&mut self, (proto, stream): (Proto, Stream)) {
        if self.waiting.len() >= limits::NET_WAITING_PER_CONNECTION_MAX {
            // Dropping resets the stream: its opener sees an error and may come again.
            tracing::warn!(peer = %self.peer, %proto, "reset a stream: too many of this peer wait");
            return;
        }
        self.waiting.push_back(Inbound {
            peer: self.peer,
            proto,
            stream,
        });
    }

    fn hand_over(&mut self, cx: &mut Context<'_>) {
        while !self.waiting.is_empty() {
            match self.accepted.poll_ready(cx) {
                Poll::Pending => return,
                // The acceptor is gone: this peer shuts down.
                Poll::Ready(Err(_)) => self.waiting.clear(),
                Poll::Ready(Ok(())) => {
                    if let Some(next) = self.waiting.pop_front() {
                        let _ = self.accepted.start_send(next);
                    }
                }
            }
        }
    }
}

fn fail(
    DialUpgradeError {
        info: (proto, reply),
        error,
    }: DialUpgradeError<Asked, Ask>,
) {
    let error = match error {
        StreamUpgradeError::Timeout => StreamError::TimedOut,
        StreamUpgradeError::NegotiationFailed => StreamError::Unsupported(proto),
        StreamUpgradeError::Io(e) => StreamError::Failed(e.to_string()),
        StreamUpgradeError::Apply(never) => match never {},
    };
    let _ = reply.send(Err(error));
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = Ask;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Asked;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.offered), ()).with_timeout(NEGOTIATION_DEADLINE)
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep_alive || !self.waiting.is_empty()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Ask, Asked, Infallible>> {
        self.hand_over(cx);
        while self.opening < limits::NET_OPENING_PER_CONNECTION_MAX {
            let Some((proto, reply)) = self.wanted.pop_front() else {
                break;
            };
            if reply.is_closed() {
                continue;
            }
            self.opening += 1;
            let protocol = SubstreamProtocol::new(Ask(proto), (proto, reply))
                .with_timeout(NEGOTIATION_DEADLINE);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: ToHandler) {
        match event {
            ToHandler::Open(_, reply)
                if self.wanted.len() >= limits::NET_WANTED_PER_CONNECTION_MAX =>
            {
                let _ = reply.send(Err(StreamError::Failed("too many streams wait".into())));
            }
            ToHandler::Open(proto, reply) => self.wanted.push_back((proto, reply)),
            ToHandler::KeepAlive(keep) => self.keep_alive = keep,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Ask, (), Asked>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(inbound) => self.accept(inbound.protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: (_, reply),
            }) => {
                self.opening = self.opening.saturating_sub(1);
                let _ = reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(error) => {
                self.opening = self.opening.saturating_sub(1);
                fail(error);
            }
            _ => {}
        }
    }
}
