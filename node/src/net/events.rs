//! What the swarm reports, and what follows from it.

use std::{net::IpAddr, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use ipfs_cluster_protocol::limits;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, PeerRecord},
    gossipsub, identify, kad,
    multiaddr::Protocol,
    ping,
    swarm::{ConnectionId, DialError as SwarmDialError, ListenError, SwarmEvent},
};
use tokio::{sync::mpsc::error::TrySendError, time::Instant};

use super::{
    behaviour::BehaviourEvent,
    dht,
    envelope::{Dropped, Opener, Payload},
    event_loop::EventLoop,
    gossip::{self, GossipMessage},
    greeting::NoGreeting,
    handle::PeerEvent,
    identity::from_libp2p,
    proto::{Topic, is_go_cluster_protocol},
};

/// A wrong secret from the same host is logged again only after this.
const STRANGER_PAUSE: Duration = Duration::from_secs(600);
/// A second connection within this time means that both sides dialled.
const DOUBLE_WINDOW: Duration = Duration::from_secs(3);

impl EventLoop {
    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => {
                if let ConnectedPoint::Dialer { address, .. } = &endpoint {
                    let mut book = self.shared.book.lock();
                    // An address that worked may be new: `dial` takes any.
                    book.hint(&peer_id, std::slice::from_ref(address));
                    book.succeeded(&peer_id, address);
                }
                self.dialer.connected(peer_id, connection_id);
                self.reconnect.reset(&peer_id);
                if num_established.get() == 1 {
                    self.on_connected(peer_id);
                } else if self.is_double(&peer_id) {
                    self.swarm.close_connection(connection_id);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                cause,
                ..
            } => {
                let cause = cause.map(|c| c.to_string());
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.on_disconnected(peer_id);
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                self.on_dial_failed(connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error: ListenError::Transport(libp2p::TransportError::Other(error)),
                ..
            } => {
                if let Some(fault) = NoGreeting::find(&error) {
                    self.log_stranger(&send_back_addr, fault);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening");
                self.refresh_addresses();
            }
            SwarmEvent::ExpiredListenAddr { .. } => self.refresh_addresses(),
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                tracing::error!(?addresses, ?reason, "a listener closed");
                self.refresh_addresses();
            }
            _ => {}
        }
    }

    /// Whether a further connection is the other half of two peers dialling each other at once.
    /// One side alone may close it, or each would close the one the other keeps. A later second
    /// connection stays: the first may be dead.
    fn is_double(&self, peer: &PeerId) -> bool {
        let since = self.since.get(peer);
        self.shared.local_libp2p < *peer && since.is_some_and(|at| at.elapsed() < DOUBLE_WINDOW)
    }

    fn on_connected(&mut self, peer: PeerId) {
        self.since.insert(peer, Instant::now());
        self.record_soon();
        if let Some(peer) = from_libp2p(&peer) {
            self.shared.connected.lock().insert(peer.clone());
            let _ = self.shared.events.send(PeerEvent::Connected(peer));
        }
    }

    fn on_disconnected(&mut self, peer: PeerId) {
        self.shared.pings.forget(&peer);
        self.since.remove(&peer);
        if let Some(peer) = from_libp2p(&peer) {
            self.shared.connected.lock().remove(&peer);
            let _ = self.shared.events.send(PeerEvent::Disconnected(peer));
        }
    }

    fn on_dial_failed(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        error: &SwarmDialError,
    ) {
        self.blame_addresses(peer, error);
        let shared = self.shared.clone();
        let book = shared.book.lock();
        let given_up = self
            .dialer
            .failed(&mut self.swarm, &book, connection, peer, error);
        drop(book);
        if let Some(peer) = given_up {
            tracing::debug!(%peer, "not reached: {error}");
            self.gave_up(peer);
        }
    }

    /// Addresses that did not lead to the peer.
    fn blame_addresses(&mut self, peer: Option<PeerId>, error: &SwarmDialError) {
        match (peer, error) {
            (Some(peer), SwarmDialError::Transport(errors)) => {
                let mut book = self.shared.book.lock();
                for (address, _) in errors {
                    book.failed(&peer, address);
                }
                drop(book);
                let wrong_secret = errors.iter().find_map(|(address, e)| match e {
                    libp2p::TransportError::Other(e) => Some((address, NoGreeting::find(e)?)),
                    libp2p::TransportError::MultiaddrNotSupported(_) => None,
                });
                if let Some((address, fault)) = wrong_secret {
                    self.log_stranger(&address.clone(), fault);
                }
            }
            (Some(peer), SwarmDialError::WrongPeerId { address, .. }) => {
                self.shared.book.lock().belongs_to_another(&peer, address);
            }
            _ => {}
        }
    }

    /// One line per host, not one per attempt.
    fn log_stranger(&mut self, address: &Multiaddr, fault: NoGreeting) {
        let host = address.iter().find_map(|p| match p {
            Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
            Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
            _ => None,
        });
        let host = host.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let now = Instant::now();
        self.strangers
            .retain(|_, at| now.duration_since(*at) < STRANGER_PAUSE);
        if self.strangers.len() < limits::NET_STRANGERS_MAX
            && self.strangers.insert(host, now).is_none()
        {
            tracing::warn!(%address, "a connection was refused: {fault}");
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => self.on_gossip(&propagation_source, &message_id, message),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, &info);
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                result: Ok(rtt),
                ..
            }) if self.swarm.is_connected(&peer) => self.shared.pings.answered(peer, rtt),
            BehaviourEvent::Dht(event) => self.on_dht(event),
            _ => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: &identify::Info) {
        let go = info
            .protocols
            .iter()
            .any(|p| is_go_cluster_protocol(p.as_ref()));
        if go && self.go_peers.len() < limits::NET_STRANGERS_MAX && self.go_peers.insert(peer) {
            tracing::warn!(
                %peer, agent = %info.agent_version,
                "a peer of the Go program connected: its peers cannot be members of this cluster; \
                 move its pins with `state export` there and `state import` here"
            );
        }
        let record = info.signed_peer_record.clone();
        let record = record.and_then(|e| PeerRecord::from_signed_envelope(e).ok());
        let seq = record.as_ref().map_or(0, PeerRecord::seq);
        let mut book = self.shared.book.lock();
        let changed = book.direct(&peer, seq, &info.listen_addrs);
        drop(book);
        let speaks_dht = info
            .protocols
            .iter()
            .any(|p| p.as_ref() == self.dht_protocol);
        let routed = self.swarm.behaviour_mut().dht.kbucket(peer);
        let missing = routed.is_none_or(|b| b.iter().all(|e| *e.node.key.preimage() != peer));
        if speaks_dht && (changed || missing) {
            self.learned(&peer);
        }
    }

    fn on_dht(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, step, .. } if step.last => {
                let shared = self.shared.clone();
                let book = shared.book.lock();
                let given_up = self.dialer.search_ended(&mut self.swarm, &book, id);
                drop(book);
                if let Some(peer) = given_up {
                    self.gave_up(peer);
                }
            }
            kad::Event::RoutingUpdated {
                peer, addresses, ..
            } => {
                let said = self.shared.book.lock().advertised(&peer).to_vec();
                let table = &mut self.swarm.behaviour_mut().dht;
                dht::keep_only(table, &peer, &addresses, &said);
            }
            _ => {}
        }
    }

    fn on_gossip(
        &mut self,
        source: &PeerId,
        id: &gossipsub::MessageId,
        message: gossipsub::Message,
    ) {
        let ours = self.shared.hello();
        let members = self.shared.members();
        let opener = Opener {
            ours: &ours,
            members: &members,
        };
        let topic = gossip::topic_of(&message.topic);
        let opened = topic.map(|topic| opener.open(source, topic, &message));
        let acceptance = match &opened {
            Some(Ok(_)) => gossipsub::MessageAcceptance::Accept,
            Some(Err(dropped)) => dropped.acceptance(),
            None => gossipsub::MessageAcceptance::Ignore,
        };
        self.swarm
            .behaviour_mut()
            .gossip
            .report_message_validation_result(id, source, acceptance);
        let (Some(topic), Some(opened)) = (topic, opened) else {
            return;
        };
        match opened {
            Ok((from, Payload::Body(body))) => {
                let body = Bytes::from(body);
                self.deliver(topic, GossipMessage { from, body });
            }
            Ok((from, Payload::Addresses(signed))) => self.on_record(&from, &signed),
            Err(dropped) => {
                *self.shared.gossip_dropped.lock().entry(topic).or_default() += 1;
                tracing::trace!(author = ?message.source, ?dropped, "gossip was dropped");
                let author = message.source.as_ref().and_then(from_libp2p);
                if let (Dropped::OtherEpoch(epoch), Some(from)) = (dropped, author) {
                    self.shared.heard_epoch_of(&from, epoch, &ours);
                }
            }
        }
    }

    fn deliver(&self, topic: Topic, message: GossipMessage) {
        let subscriber = self.shared.subscribers.lock().get(&topic).cloned();
        let Some(subscriber) = subscriber else {
            return;
        };
        match subscriber.try_send(message) {
            Ok(()) => {
                self.shared.gossip_delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Full(message)) => {
                *self.shared.gossip_dropped.lock().entry(topic).or_default() += 1;
                tracing::debug!(topic = topic.name(), from = %message.from, "gossip was dropped: its subscriber lags");
            }
            Err(TrySendError::Closed(_)) => {}
        }
    }

    fn on_record(&mut self, from: &ipfs_cluster_protocol::id::PeerId, signed: &[u8]) {
        let Some(envelope) = gossip::address_record(signed) else {
            return;
        };
        let changed = self.shared.book.lock().record(envelope);
        if let Some(peer) = changed {
            tracing::debug!(%peer, %from, "a member told new addresses");
            self.learned(&peer);
        }
    }
}
