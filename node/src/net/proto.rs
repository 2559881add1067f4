//! The names on the wire: stream protocols and gossip topics.

use std::fmt;

use libp2p::StreamProtocol;

/// What a stream between two peers is for. All but [`Proto::Http`] open with a `Hello`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    /// Log entries from the leader: one long-lived, pipelined stream per follower.
    RaftAppend,
    /// Votes and leadership transfer, request and reply.
    Raft,
    /// One state snapshot.
    RaftSnapshot,
    /// Clients' commands on their way to the leader.
    Forward,
    /// Questions from peer to peer.
    Rpc,
    /// Asking to be admitted.
    Join,
    /// Ranges of a status table that were missed.
    StatusPull,
    /// The committed log, for readers.
    Feed,
    /// Blocks of content between members.
    Blocks,
    /// HTTP/1.1 for clients behind the secret: raw bytes, no `Hello`.
    Http,
}

impl Proto {
    /// Every protocol, in the order of the enum.
    pub const ALL: [Self; 10] = [
        Self::RaftAppend,
        Self::Raft,
        Self::RaftSnapshot,
        Self::Forward,
        Self::Rpc,
        Self::Join,
        Self::StatusPull,
        Self::Feed,
        Self::Blocks,
        Self::Http,
    ];

    /// The name multistream-select negotiates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RaftAppend => "/ipfs-cluster/raft-append/1",
            Self::Raft => "/ipfs-cluster/raft/1",
            Self::RaftSnapshot => "/ipfs-cluster/raft-snapshot/1",
            Self::Forward => "/ipfs-cluster/forward/1",
            Self::Rpc => "/ipfs-cluster/rpc/1",
            Self::Join => "/ipfs-cluster/join/1",
            Self::StatusPull => "/ipfs-cluster/status-pull/1",
            Self::Feed => "/ipfs-cluster/feed/1",
            Self::Blocks => "/ipfs-cluster/blocks/1",
            Self::Http => "/libp2p-http",
        }
    }

    pub(super) const fn stream_protocol(self) -> StreamProtocol {
        StreamProtocol::new(self.name())
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a gossip message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Metrics of members; signed address records travel here too, unseen by subscribers.
    Metrics,
    /// Deltas and digests of status tables.
    Status,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 2] = [Self::Metrics, Self::Status];

    /// The name of the gossipsub topic.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "/ipfs-cluster/metrics/1",
            Self::Status => "/ipfs-cluster/status/1",
        }
    }
}

/// Protocols that only the Go program speaks: whoever offers them is a peer of a Go cluster.
pub(super) fn is_go_cluster_protocol(name: &str) -> bool {
    name.starts_with("/ipfscluster/") || name.starts_with("/raft/1.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_protocol_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Proto::ALL.iter().map(|p| p.name()).collect();
        assert_eq!(names.len(), Proto::ALL.len());
        assert!(!names.iter().any(|n| is_go_cluster_protocol(n)));
    }

    #[test]
    fn the_go_programs_protocols_are_recognised() {
        assert!(is_go_cluster_protocol("/ipfscluster/1.0/rpc"));
        assert!(is_go_cluster_protocol("/raft/1.0.0/rpc"));
    }
}
