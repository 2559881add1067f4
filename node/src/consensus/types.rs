//! openraft's types with ours in their places. openraft's aliases stop in this folder.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use ipfs_cluster_protocol::{
    command::Outcome,
    id::{Incarnation, NodeId, PeerId},
    time::Timestamp,
};
use openraft::{EmptyNode, impls::leader_id_std, type_config::alias};
use serde::{Deserialize, Serialize};

/// A peer in one of its lives. openraft clones these all the time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RaftId(Arc<NodeId>);

impl RaftId {
    pub(crate) fn new(peer: PeerId, incarnation: Incarnation) -> Self {
        Self(Arc::new(NodeId { peer, incarnation }))
    }

    pub(crate) fn peer(&self) -> &PeerId {
        &self.0.peer
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }
}

impl From<NodeId> for RaftId {
    fn from(id: NodeId) -> Self {
        Self(Arc::new(id))
    }
}

/// openraft's test suite numbers its nodes.
#[cfg(test)]
impl From<u64> for RaftId {
    fn from(n: u64) -> Self {
        let mut bytes = vec![0x12, 0x20];
        bytes.extend_from_slice(&[7; 24]);
        bytes.extend_from_slice(&n.to_be_bytes());
        let peer = PeerId::from_bytes(&bytes).expect("a sha2-256 multihash");
        Self::new(peer, Incarnation(1))
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for RaftId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for RaftId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        NodeId::deserialize(d).map(Self::from)
    }
}

/// A log entry of ours, encoded once by the leader and decoded once where it is applied.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryBytes(pub(crate) Bytes);

impl fmt::Debug for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What became of the commands of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcomes {
    /// The entry's time.
    pub(crate) at: Timestamp,
    /// One per command.
    pub(crate) outcomes: Vec<Outcome>,
}

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = EntryBytes,
        R = Outcomes,
        NodeId = RaftId,
        Node = EmptyNode,
        LeaderId = leader_id_std::LeaderId<u64, RaftId>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, super::state_machine::StateMachine>;
pub(crate) type RaftMetrics = openraft::RaftMetrics<TypeConfig>;
