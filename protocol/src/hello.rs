//! The first words on every stream between peers: who each side is, and whether they may go on.
//!
//! The opener sends its [`Hello`], the other side an [`Answer`]; nothing else flows before. So a
//! peer of another cluster, of an abandoned past (a lower epoch) or of an unknown version is
//! refused by name instead of being misunderstood later.

use serde::{Deserialize, Serialize};

use crate::{
    command::{LEVEL_REQUESTS, LEVEL_SIZES},
    id::{ClusterId, Epoch, Incarnation},
};

/// The oldest version of the stream protocols this program speaks.
pub const WIRE_OLDEST: u32 = 1;
/// The newest version of the stream protocols this program speaks.
pub const WIRE_NEWEST: u32 = 1;

/// The bit of [`Hello::features`] that says: this peer applies commands of a feature level. All apply
/// those of level 1.
#[must_use]
pub const fn applies(level: u32) -> u64 {
    match level {
        0 | 1 => 0,
        level => 1 << (level - 2),
    }
}

/// What a peer says of itself when a stream opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its cluster; none before it has joined or formed one.
    pub cluster: Option<ClusterId>,
    /// The epoch of its state.
    pub epoch: Epoch,
    /// Which of its lives it is in; none before it was admitted.
    pub incarnation: Option<Incarnation>,
    /// The oldest version it speaks.
    pub wire_min: u32,
    /// The newest version it speaks.
    pub wire_max: u32,
    /// Optional abilities, one bit each; unknown bits are ignored.
    pub features: u64,
}

impl Default for Hello {
    /// A peer of this version that belongs to no cluster yet.
    fn default() -> Self {
        Self {
            cluster: None,
            epoch: Epoch(0),
            incarnation: None,
            wire_min: WIRE_OLDEST,
            wire_max: WIRE_NEWEST,
            features: applies(LEVEL_REQUESTS) | applies(LEVEL_SIZES),
        }
    }
}

/// What the other side replies to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who replies.
    pub hello: Hello,
    /// Why the stream ends here, or nothing when it goes on.
    pub refusal: Option<Refusal>,
}

/// Why a stream was refused. `refuser` is the side that says so, `refused` the other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Two clusters that share a secret.
    #[error("a peer of cluster {refuser} does not talk to a peer of cluster {refused}")]
    OtherCluster {
        /// Cluster of the refusing side.
        refuser: ClusterId,
        /// Cluster of the refused side.
        refused: ClusterId,
    },
    /// The refused side was left behind by a recovery or a restore.
    #[error("epoch {refused} is over: the cluster goes on in epoch {refuser}")]
    EpochOver {
        /// Epoch of the refusing side.
        refuser: Epoch,
        /// Epoch of the refused side.
        refused: Epoch,
    },
    /// The refusing side was left behind by a recovery or a restore.
    #[error("this peer is still in epoch {refuser}, the caller in epoch {refused}")]
    EpochAhead {
        /// Epoch of the refusing side.
        refuser: Epoch,
        /// Epoch of the refused side.
        refused: Epoch,
    },
    /// A former life of a peer that has been admitted again since.
    #[error("incarnation {refused} of this peer is over: it was admitted again as {refuser}")]
    IncarnationOver {
        /// Incarnation the refusing side knows.
        refuser: Incarnation,
        /// Incarnation the refused side claims.
        refused: Incarnation,
    },
    /// No common version.
    #[error(
        "no common version: one side speaks {refuser_min} to {refuser_max}, the other \
         {refused_min} to {refused_max}; upgrade the older one"
    )]
    Versions {
        /// Oldest version of the refusing side.
        refuser_min: u32,
        /// Newest version of the refusing side.
        refuser_max: u32,
        /// Oldest version of the refused side.
        refused_min: u32,
        /// Newest version of the refused side.
        refused_max: u32,
    },
    /// The caller is not entitled to this protocol.
    #[error("{caller} may not open {protocol}")]
    NotAllowed {
        /// Name of the protocol.
        protocol: String,
        /// What the caller is to the refusing side: `a joining peer`, `a stranger`, …
        caller: String,
    },
    /// Nobody serves this protocol (yet, or any more).
    #[error("this peer does not serve {protocol} at present")]
    NotServed {
        /// Name of the protocol.
        protocol: String,
    },
    /// Too many streams wait.
    #[error("this peer has no room for another {protocol} stream")]
    Busy {
        /// Name of the protocol.
        protocol: String,
    },
}

impl Hello {
    /// The version two sides use: the newest both speak.
    #[must_use]
    pub fn common_version(&self, other: &Self) -> Option<u32> {
        let version = self.wire_max.min(other.wire_max);
        (version >= self.wire_min.max(other.wire_min)).then_some(version)
    }

    /// Whether a peer that says this of itself may go on with one that says `theirs`: a common
    /// version, and, where both belong to a cluster, the same one in the same epoch.
    pub fn admit(&self, theirs: &Self) -> Result<(), Refusal> {
        if self.common_version(theirs).is_none() {
            return Err(Refusal::Versions {
                refuser_min: self.wire_min,
                refuser_max: self.wire_max,
                refused_min: theirs.wire_min,
                refused_max: theirs.wire_max,
            });
        }
        let (Some(refuser), Some(refused)) = (self.cluster, theirs.cluster) else {
            return Ok(());
        };
        if refuser != refused {
            return Err(Refusal::OtherCluster { refuser, refused });
        }
        let (refuser, refused) = (self.epoch, theirs.epoch);
        match refused.cmp(&refuser) {
            std::cmp::Ordering::Less => Err(Refusal::EpochOver { refuser, refused }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(Refusal::EpochAhead { refuser, refused }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, limits::HELLO_BYTES_MAX};

    fn of(cluster: u8, epoch: u64) -> Hello {
        Hello {
            cluster: Some(ClusterId([cluster; 16])),
            epoch: Epoch(epoch),
            ..Hello::default()
        }
    }

    #[test]
    fn the_same_cluster_and_epoch_go_on() {
        assert_eq!(of(1, 3).admit(&of(1, 3)), Ok(()));
    }

    #[test]
    fn another_cluster_is_refused_with_both_names() {
        let refusal = of(1, 3).admit(&of(2, 3)).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains(&ClusterId([1; 16]).to_string()), "{text}");
        assert!(text.contains(&ClusterId([2; 16]).to_string()), "{text}");
    }

    #[test]
    fn a_differing_epoch_is_refused_on_both_sides() {
        assert!(matches!(
            of(1, 3).admit(&of(1, 2)),
            Err(Refusal::EpochOver { .. })
        ));
        assert!(matches!(
            of(1, 2).admit(&of(1, 3)),
            Err(Refusal::EpochAhead { .. })
        ));
    }

    #[test]
    fn a_peer_without_a_cluster_is_not_refused_here() {
        assert_eq!(of(1, 3).admit(&Hello::default()), Ok(()));
        assert_eq!(Hello::default().admit(&of(1, 3)), Ok(()));
    }

    #[test]
    fn versions_that_do_not_meet_are_refused() {
        let newer = Hello {
            wire_min: 2,
            wire_max: 4,
            ..of(1, 3)
        };
        assert!(matches!(
            of(1, 3).admit(&newer),
            Err(Refusal::Versions { refused_min: 2, .. })
        ));
        let overlapping = Hello {
            wire_min: 1,
            ..newer
        };
        assert_eq!(of(1, 3).common_version(&overlapping), Some(1));
    }

    #[test]
    fn an_answer_survives_the_wire_within_its_bound() {
        let answer = Answer {
            hello: of(1, 3),
            refusal: Some(Refusal::NotAllowed {
                protocol: "/ipfs-cluster/feed/1".into(),
                caller: "a stranger".into(),
            }),
        };
        let bytes = codec::encode(&answer);
        assert!(bytes.len() <= HELLO_BYTES_MAX);
        assert_eq!(codec::decode(&bytes, HELLO_BYTES_MAX), Ok(answer));
    }
}
