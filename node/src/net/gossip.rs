//! Gossip between members: gossipsub's settings, the envelope, and who is believed.
//!
//! Every message is signed by its author, and wrapped with the author's cluster and epoch. A peer
//! passes on and delivers only what a member of its own cluster and epoch wrote.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use ipfs_cluster_protocol::{
    codec,
    hello::Hello,
    id::{ClusterId, Epoch, Incarnation, PeerId},
    limits::{self, GOSSIP_BYTES_MAX},
};
use libp2p::{core::SignedEnvelope, gossipsub, identity::Keypair};
use serde::{Deserialize, Serialize};

use super::{error::NetError, identity::from_libp2p, proto::Topic};

/// A message of another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipMessage {
    /// Who wrote and signed it.
    pub from: PeerId,
    /// What it published.
    pub body: Bytes,
}

/// What travels in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Payload {
    /// A subscriber's message.
    Body(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The author's signed address record.
    Addresses(#[serde(with = "serde_bytes")] Vec<u8>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    cluster: ClusterId,
    epoch: Epoch,
    payload: Payload,
}

/// Why a message goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    NotAMember,
    OtherCluster,
    /// A member speaks of an epoch that is not this peer's.
    OtherEpoch(Epoch),
    Malformed,
}

impl Dropped {
    /// Whether the message is wrong for everybody, or perhaps only unknown to this peer yet.
    pub(super) const fn acceptance(self) -> gossipsub::MessageAcceptance {
        match self {
            Self::OtherCluster | Self::Malformed => gossipsub::MessageAcceptance::Reject,
            Self::NotAMember | Self::OtherEpoch(_) => gossipsub::MessageAcceptance::Ignore,
        }
    }
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
    keys: &Keypair,
    heartbeat: Duration,
) -> Result<gossipsub::Behaviour, NetError> {
    let unusable = |e: &dyn std::fmt::Display| NetError::Settings(format!("gossip: {e}"));
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(heartbeat)
        .heartbeat_initial_delay(Duration::from_millis(200))
        .validation_mode(gossipsub::ValidationMode::Strict)
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
    let author = gossipsub::MessageAuthenticity::Signed(keys.clone());
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

/// The end of the author's key and its sequence number: both are signed. Short, since every member
/// is told of every message.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let author = message.source.map(|p| p.to_bytes()).unwrap_or_default();
    let end = author.len().saturating_sub(ID_BYTES - 8);
    let mut id = author.get(end..).unwrap_or_default().to_vec();
    id.extend(message.sequence_number.unwrap_or_default().to_be_bytes());
    gossipsub::MessageId::from(id)
}

/// Wraps a payload; none before this peer belongs to a cluster.
pub(super) fn seal(ours: &Hello, payload: Payload) -> Option<Vec<u8>> {
    Some(codec::encode(&Envelope {
        cluster: ours.cluster?,
        epoch: ours.epoch,
        payload,
    }))
}

/// Unwraps a message if its author is believed.
pub(super) fn unseal(
    ours: &Hello,
    members: &BTreeMap<PeerId, Incarnation>,
    author: Option<libp2p::PeerId>,
    data: &[u8],
) -> Result<(PeerId, Payload), Dropped> {
    let author = author.as_ref().and_then(from_libp2p);
    let author = author
        .filter(|peer| members.contains_key(peer))
        .ok_or(Dropped::NotAMember)?;
    let envelope: Envelope =
        codec::decode(data, GOSSIP_BYTES_MAX + limits::GOSSIP_ENVELOPE_BYTES_MAX)
            .map_err(|_| Dropped::Malformed)?;
    if ours.cluster != Some(envelope.cluster) {
        return Err(Dropped::OtherCluster);
    }
    if envelope.epoch != ours.epoch {
        return Err(Dropped::OtherEpoch(envelope.epoch));
    }
    Ok((author, envelope.payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(cluster: u8, epoch: u64) -> Hello {
        Hello {
            cluster: Some(ClusterId([cluster; 16])),
            epoch: Epoch(epoch),
            ..Hello::default()
        }
    }

    #[test]
    fn only_members_of_this_cluster_and_epoch_are_believed() {
        let author = libp2p::PeerId::random();
        let from = from_libp2p(&author).unwrap();
        let members = BTreeMap::from([(from.clone(), Incarnation(1))]);
        let payload = Payload::Body(b"hello".to_vec());
        let sealed = seal(&hello(1, 2), payload.clone()).unwrap();
        let nobody = BTreeMap::new();
        let open = |ours: &Hello, members, data: &[u8]| unseal(ours, members, Some(author), data);

        assert_eq!(open(&hello(1, 2), &members, &sealed), Ok((from, payload)));
        assert_eq!(
            open(&hello(1, 2), &nobody, &sealed),
            Err(Dropped::NotAMember)
        );
        assert_eq!(
            open(&hello(9, 2), &members, &sealed),
            Err(Dropped::OtherCluster)
        );
        assert_eq!(
            open(&hello(1, 1), &members, &sealed),
            Err(Dropped::OtherEpoch(Epoch(2)))
        );
        assert_eq!(
            open(&hello(1, 2), &members, b"garbage"),
            Err(Dropped::Malformed)
        );
    }

    #[test]
    fn a_peer_without_a_cluster_says_nothing() {
        assert_eq!(seal(&Hello::default(), Payload::Body(vec![])), None);
    }

    #[test]
    fn the_settings_are_valid() {
        let keys = Keypair::generate_ed25519();
        assert!(behaviour(&keys, Duration::from_secs(1)).is_ok());
    }
}
