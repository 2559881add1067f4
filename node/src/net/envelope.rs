//! What travels in a gossip message, and who is believed.
//!
//! Every message is wrapped with its author's cluster and epoch, and signed by the author. Gossipsub's
//! own signature would be checked by every receiver, and that is most of what a message costs. Nearly
//! all come from their author itself over a connection that has proved who it is, so that the signature
//! matters only to those who get the message from somebody else: they check this one.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    codec,
    hello::Hello,
    id::{ClusterId, Epoch, Incarnation, PeerId},
    limits::{self, GOSSIP_BYTES_MAX},
};
use libp2p::{
    gossipsub,
    identity::{Keypair, PublicKey, SigningError},
};
use serde::{Deserialize, Serialize};

use super::{identity::from_libp2p, proto::Topic};

/// What is signed begins so: a signature for something else is none of a message.
const DOMAIN: &[u8] = b"ipfs-cluster gossip\0";
/// Code of a multihash that is what it stands for: the ID of an Ed25519 peer is its key.
const IDENTITY: u64 = 0;

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
    /// Differs from message to message, so that no two are the same.
    number: u64,
    payload: Payload,
}

/// An encoded [`Envelope`] and the author's signature of it.
#[derive(Debug, Serialize, Deserialize)]
struct Signed {
    #[serde(with = "serde_bytes")]
    envelope: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
    /// The author's public key in libp2p's protobuf form, when it is not in the peer ID (RSA).
    key: Option<serde_bytes::ByteBuf>,
}

fn to_sign(topic: Topic, envelope: &[u8]) -> Vec<u8> {
    [DOMAIN, topic.name().as_bytes(), b"\0", envelope].concat()
}

/// Why a message goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    NotAMember,
    OtherCluster,
    /// A member speaks of an epoch that is not this peer's.
    OtherEpoch(Epoch),
    Malformed,
    /// It came from somebody who is not its author, and the author did not write it.
    Forged,
}

impl Dropped {
    /// Whether the message is wrong for everybody, or perhaps only unknown to this peer yet.
    pub(super) const fn acceptance(self) -> gossipsub::MessageAcceptance {
        match self {
            Self::OtherCluster | Self::Malformed | Self::Forged => {
                gossipsub::MessageAcceptance::Reject
            }
            Self::NotAMember | Self::OtherEpoch(_) => gossipsub::MessageAcceptance::Ignore,
        }
    }
}

/// Wraps and signs what a peer publishes.
#[derive(Debug)]
pub(super) struct Sealer {
    keys: Keypair,
    key: Option<serde_bytes::ByteBuf>,
    number: u64,
}

impl Sealer {
    pub(super) fn new(keys: Keypair) -> Self {
        let public = keys.public();
        let told = public.to_peer_id().as_ref().code() == IDENTITY;
        Self {
            key: (!told).then(|| serde_bytes::ByteBuf::from(public.encode_protobuf())),
            keys,
            // A life must not repeat what a former one has said.
            number: rand::random(),
        }
    }

    /// Wraps a payload; none before this peer belongs to a cluster.
    pub(super) fn seal(
        &mut self,
        ours: &Hello,
        topic: Topic,
        payload: Payload,
    ) -> Result<Option<Vec<u8>>, SigningError> {
        let Some(cluster) = ours.cluster else {
            return Ok(None);
        };
        self.number = self.number.wrapping_add(1);
        let envelope = codec::encode(&Envelope {
            cluster,
            epoch: ours.epoch,
            number: self.number,
            payload,
        });
        let signature = self.keys.sign(&to_sign(topic, &envelope))?;
        Ok(Some(codec::encode(&Signed {
            envelope,
            signature,
            key: self.key.clone(),
        })))
    }
}

/// What this peer knows when a message arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opener<'a> {
    pub(super) ours: &'a Hello,
    pub(super) members: &'a BTreeMap<PeerId, Incarnation>,
}

impl Opener<'_> {
    /// Unwraps a message that came from `from` if its author is believed.
    pub(super) fn open(
        &self,
        from: &libp2p::PeerId,
        topic: Topic,
        message: &gossipsub::Message,
    ) -> Result<(PeerId, Payload), Dropped> {
        let author = message.source.as_ref();
        let peer = author.and_then(from_libp2p);
        let (Some(author), Some(peer)) = (author, peer) else {
            return Err(Dropped::NotAMember);
        };
        if !self.members.contains_key(&peer) {
            return Err(Dropped::NotAMember);
        }
        let max = GOSSIP_BYTES_MAX + limits::GOSSIP_ENVELOPE_BYTES_MAX;
        let signed: Signed = codec::decode(&message.data, max).map_err(|_| Dropped::Malformed)?;
        if from != author && !is_signed_by(author, topic, &signed) {
            return Err(Dropped::Forged);
        }
        let envelope: Envelope =
            codec::decode(&signed.envelope, max).map_err(|_| Dropped::Malformed)?;
        if self.ours.cluster != Some(envelope.cluster) {
            return Err(Dropped::OtherCluster);
        }
        if envelope.epoch != self.ours.epoch {
            return Err(Dropped::OtherEpoch(envelope.epoch));
        }
        Ok((peer, envelope.payload))
    }
}

fn is_signed_by(author: &libp2p::PeerId, topic: Topic, signed: &Signed) -> bool {
    let hash = author.as_ref();
    let key = match &signed.key {
        None if hash.code() == IDENTITY => hash.digest(),
        None => return false,
        Some(key) => key.as_slice(),
    };
    PublicKey::try_decode_protobuf(key).is_ok_and(|key| {
        key.to_peer_id() == *author
            && key.verify(&to_sign(topic, &signed.envelope), &signed.signature)
    })
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

    struct Author {
        sealer: Sealer,
        id: libp2p::PeerId,
        members: BTreeMap<PeerId, Incarnation>,
    }

    impl Author {
        fn new(keys: Keypair) -> Self {
            let id = keys.public().to_peer_id();
            Self {
                sealer: Sealer::new(keys),
                id,
                members: BTreeMap::from([(from_libp2p(&id).unwrap(), Incarnation(1))]),
            }
        }

        fn says(&mut self, ours: &Hello) -> gossipsub::Message {
            let payload = Payload::Body(b"hello".to_vec());
            let sealed = self.sealer.seal(ours, Topic::Status, payload);
            gossipsub::Message {
                source: Some(self.id),
                data: sealed.unwrap().unwrap(),
                sequence_number: None,
                topic: super::super::gossip::topic(Topic::Status).hash(),
            }
        }

        fn open(
            &self,
            ours: &Hello,
            from: &libp2p::PeerId,
            message: &gossipsub::Message,
        ) -> Result<(PeerId, Payload), Dropped> {
            let members = &self.members;
            Opener { ours, members }.open(from, Topic::Status, message)
        }
    }

    fn author() -> Author {
        Author::new(Keypair::generate_ed25519())
    }

    #[test]
    fn only_members_of_this_cluster_and_epoch_are_believed() {
        let mut author = author();
        let message = author.says(&hello(1, 2));
        let id = author.id;
        let peer = from_libp2p(&id).unwrap();
        let body = Payload::Body(b"hello".to_vec());
        let heard = |cluster, epoch| author.open(&hello(cluster, epoch), &id, &message);
        assert_eq!(heard(1, 2), Ok((peer, body)));
        assert_eq!(heard(9, 2), Err(Dropped::OtherCluster));
        assert_eq!(heard(1, 1), Err(Dropped::OtherEpoch(Epoch(2))));
        let garbage = gossipsub::Message {
            data: b"garbage".to_vec(),
            ..message.clone()
        };
        let heard = author.open(&hello(1, 2), &id, &garbage);
        assert_eq!(heard, Err(Dropped::Malformed));
        author.members.clear();
        let heard = author.open(&hello(1, 2), &id, &message);
        assert_eq!(heard, Err(Dropped::NotAMember));
    }

    #[test]
    fn what_another_passes_on_must_be_what_the_author_signed() {
        let rsa = Keypair::from_protobuf_encoding(include_bytes!("tests/rsa.protobuf")).unwrap();
        for mut author in [author(), Author::new(rsa)] {
            let ours = hello(1, 2);
            let message = author.says(&ours);
            let relay = libp2p::PeerId::random();
            assert!(author.open(&ours, &relay, &message).is_ok());
            let mut changed = message.clone();
            let mut words = changed.data.windows(5);
            let at = words.position(|word| word == b"hello").unwrap();
            changed.data[at] ^= 1;
            let heard = author.open(&ours, &relay, &changed);
            assert_eq!(heard, Err(Dropped::Forged));
            // Nor for another topic, nor in the name of another member.
            let (ours, members) = (&ours, &author.members);
            let heard = Opener { ours, members }.open(&relay, Topic::Metrics, &message);
            assert_eq!(heard, Err(Dropped::Forged));
            let other = libp2p::PeerId::random();
            let members = &BTreeMap::from([(from_libp2p(&other).unwrap(), Incarnation(1))]);
            let stolen = gossipsub::Message {
                source: Some(other),
                ..message.clone()
            };
            let heard = Opener { ours, members }.open(&relay, Topic::Status, &stolen);
            assert_eq!(heard, Err(Dropped::Forged));
        }
    }

    #[test]
    fn no_two_messages_are_the_same() {
        let mut author = author();
        let ours = hello(1, 2);
        assert_ne!(author.says(&ours).data, author.says(&ours).data);
    }

    #[test]
    fn a_peer_without_a_cluster_says_nothing() {
        let sealed = author()
            .sealer
            .seal(&Hello::default(), Topic::Status, Payload::Body(vec![]));
        assert_eq!(sealed.unwrap(), None);
    }
}
