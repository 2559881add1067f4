//! Gossip between members: gossipsub's settings and messages. What travels in them, and who is
//! believed, is in [`super::envelope`].

use std::time::Duration;

use bytes::Bytes;
use ipfs_cluster_protocol::{
    id::PeerId,
    limits::{self, GOSSIP_BYTES_MAX},
};
use libp2p::{core::SignedEnvelope, gossipsub};
use sha2::{Digest as _, Sha256};

use super::{error::NetError, proto::Topic};

/// A message of another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipMessage {
    /// Who wrote and signed it.
    pub from: PeerId,
    /// What it published.
    pub body: Bytes,
}

pub(super) fn topic(topic: Topic) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(topic.name())
}

/// The topic of a message, when it is one of ours.
pub(super) fn topic_of(hash: &gossipsub::TopicHash) -> Option<Topic> {
    Topic::ALL.into_iter().find(|t| t.name() == hash.as_str())
}

/// An address record, from its bytes.
pub(super) fn address_record(bytes: &[u8]) -> Option<SignedEnvelope> {
    SignedEnvelope::from_protobuf_encoding(bytes).ok()
}

pub(super) fn behaviour(
    own: libp2p::PeerId,
    heartbeat: Duration,
) -> Result<gossipsub::Behaviour, NetError> {
    let unusable = |e: &dyn std::fmt::Display| NetError::Settings(format!("gossip: {e}"));
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(heartbeat)
        .heartbeat_initial_delay(Duration::from_millis(200))
        .validation_mode(gossipsub::ValidationMode::Permissive)
        .validate_messages()
        .max_transmit_size(GOSSIP_BYTES_MAX + limits::GOSSIP_ENVELOPE_BYTES_MAX)
        // Every member is reached directly. Nobody passes on unasked: with a mesh each would get a
        // message from all the others too, and check as many signatures. Whoever is cut off from an
        // author hears of its messages from the others, at their next heartbeat, and asks for them.
        .flood_publish(true)
        .mesh_outbound_min(0)
        .mesh_n_low(0)
        .mesh_n(0)
        .mesh_n_high(0)
        .history_gossip(1)
        .max_control_messages_sent(limits::GOSSIP_ANNOUNCED_MAX)
        .max_control_message_size(limits::GOSSIP_CONTROL_BYTES_MAX)
        .message_id_fn(message_id)
        .build()
        .map_err(|e| unusable(&e))?;
    // Signed within: see `envelope`.
    let author = gossipsub::MessageAuthenticity::Author(own);
    let mut behaviour = gossipsub::Behaviour::new(author, config).map_err(|e| unusable(&e))?;
    for each in Topic::ALL {
        behaviour
            .subscribe(&topic(each))
            .map_err(|e| unusable(&e))?;
    }
    Ok(behaviour)
}

/// Bytes of a [`message_id`].
const ID_BYTES: usize = 16;
const _: () =
    assert!(limits::GOSSIP_ANNOUNCED_MAX * (ID_BYTES + 2) < limits::GOSSIP_CONTROL_BYTES_MAX);

/// Of the author and what it signed: not of gossipsub's sequence number, which it did not. Short, since
/// every member is told of every message.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let mut hash = Sha256::new();
    hash.update(message.source.map(|p| p.to_bytes()).unwrap_or_default());
    hash.update(&message.data);
    let mut id = hash.finalize().to_vec();
    id.truncate(ID_BYTES);
    gossipsub::MessageId::from(id)
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn the_settings_are_valid() {
        let keys = Keypair::generate_ed25519();
        let own = keys.public().to_peer_id();
        assert!(behaviour(own, Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn an_id_is_of_what_was_said_and_by_whom() {
        let said = |data: &[u8], source| gossipsub::Message {
            source: Some(source),
            data: data.to_vec(),
            sequence_number: Some(1),
            topic: topic(Topic::Status).hash(),
        };
        let (a, b) = (libp2p::PeerId::random(), libp2p::PeerId::random());
        let id = message_id(&said(b"x", a));
        let again = gossipsub::Message {
            sequence_number: Some(2),
            ..said(b"x", a)
        };
        assert_eq!(id, message_id(&again));
        assert_ne!(id, message_id(&said(b"y", a)));
        assert_ne!(id, message_id(&said(b"x", b)));
        assert_eq!(id.0.len(), ID_BYTES);
    }
}
