//! How far pins have come, per peer, and the filters over that.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{lenient, time::Time};
use crate::{
    id::{Cid, PeerId},
    pin::{PinPhase, PinType},
};

/// What a peer says of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u16)]
pub enum TrackerStatus {
    /// It says nothing.
    #[default]
    Undefined = 0,
    /// The peer, or its IPFS node, could not be asked.
    ClusterError = 2,
    /// The IPFS node failed or stalled; will be retried.
    PinError = 4,
    /// The IPFS node refused to unpin.
    UnpinError = 8,
    /// Held as wanted.
    Pinned = 16,
    /// Being fetched.
    Pinning = 32,
    /// Being unpinned.
    Unpinning = 64,
    /// Not in the pinset.
    Unpinned = 128,
    /// In the pinset, allocated to other peers.
    Remote = 256,
    /// Waits for a worker.
    PinQueued = 512,
    /// Waits to be unpinned.
    UnpinQueued = 1024,
    /// A root of shards, never pinned itself.
    Sharded = 2048,
    /// Should be held, is not, and nothing runs.
    UnexpectedlyUnpinned = 4096,
}

impl TrackerStatus {
    /// All that a peer can say, by ascending bit.
    pub const ALL: [Self; 13] = [
        Self::Undefined,
        Self::ClusterError,
        Self::PinError,
        Self::UnpinError,
        Self::Pinned,
        Self::Pinning,
        Self::Unpinning,
        Self::Unpinned,
        Self::Remote,
        Self::PinQueued,
        Self::UnpinQueued,
        Self::Sharded,
        Self::UnexpectedlyUnpinned,
    ];

    /// The name users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::ClusterError => "cluster_error",
            Self::PinError => "pin_error",
            Self::UnpinError => "unpin_error",
            Self::Pinned => "pinned",
            Self::Pinning => "pinning",
            Self::Unpinning => "unpinning",
            Self::Unpinned => "unpinned",
            Self::Remote => "remote",
            Self::PinQueued => "pin_queued",
            Self::UnpinQueued => "unpin_queued",
            Self::Sharded => "sharded",
            Self::UnexpectedlyUnpinned => "unexpectedly_unpinned",
        }
    }

    /// The status of this name; composites have none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    fn bit(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for TrackerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<PinPhase> for TrackerStatus {
    fn from(phase: PinPhase) -> Self {
        match phase {
            PinPhase::PinQueued => Self::PinQueued,
            PinPhase::Pinning => Self::Pinning,
            PinPhase::Pinned => Self::Pinned,
            PinPhase::PinError => Self::PinError,
            PinPhase::UnpinQueued => Self::UnpinQueued,
            PinPhase::Unpinning => Self::Unpinning,
            PinPhase::UnpinError => Self::UnpinError,
            PinPhase::UnexpectedlyUnpinned => Self::UnexpectedlyUnpinned,
        }
    }
}

impl Serialize for TrackerStatus {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TrackerStatus {
    /// An unknown name, which a newer peer may send, is undefined.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = Option::<String>::deserialize(d)?.unwrap_or_default();
        Ok(Self::from_name(&name).unwrap_or_default())
    }
}

/// A filter without a single known name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid filter value")]
pub struct FilterError;

/// A set of statuses. The empty set stands for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusFilter(u16);

impl StatusFilter {
    /// Everything.
    pub const ALL: Self = Self(0);

    /// These alone; nothing (or `undefined`) stands for everything.
    #[must_use]
    pub fn of(statuses: &[TrackerStatus]) -> Self {
        Self(statuses.iter().fold(0, |bits, s| bits | s.bit()))
    }

    /// Reads a comma list of names, `error` and `queued` included. Unknown names are ignored as
    /// long as a known one remains; an empty text is everything.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::ALL);
        }
        let bits = text.split(',').fold(0, |bits, name| {
            bits | match name.replace(' ', "").as_str() {
                "error" => {
                    TrackerStatus::ClusterError.bit()
                        | TrackerStatus::PinError.bit()
                        | TrackerStatus::UnpinError.bit()
                }
                "queued" => TrackerStatus::PinQueued.bit() | TrackerStatus::UnpinQueued.bit(),
                name => TrackerStatus::from_name(name).unwrap_or_default().bit(),
            }
        });
        if bits == 0 {
            Err(FilterError)
        } else {
            Ok(Self(bits))
        }
    }

    /// Whether it is everything.
    #[must_use]
    pub fn is_all(self) -> bool {
        self.0 == 0
    }

    /// Whether a pin in this status passes; an undefined one always does.
    #[must_use]
    pub fn contains(self, status: TrackerStatus) -> bool {
        self.is_all() || status == TrackerStatus::Undefined || self.0 & status.bit() != 0
    }
}

impl fmt::Display for StatusFilter {
    /// The names as a comma list; empty for everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for status in TrackerStatus::ALL {
            if self.0 & status.bit() != 0 {
                write!(f, "{separator}{status}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// A set of pin types. The empty set stands for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PinTypeFilter(u8);

impl PinTypeFilter {
    /// Everything.
    pub const ALL: Self = Self(0);

    /// Reads a comma list of `pin`, `meta-pin`, `clusterdag-pin`, `shard-pin`, `all`. Unknown names
    /// are ignored as long as a known one remains; an empty text is everything.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::ALL);
        }
        let mut bits = 0;
        for name in text.split(',') {
            if name == "all" {
                return Ok(Self::ALL);
            }
            bits |= PinType::from_name(name).map_or(0, type_bit);
        }
        if bits == 0 {
            Err(FilterError)
        } else {
            Ok(Self(bits))
        }
    }

    /// Whether a pin of this type passes.
    #[must_use]
    pub fn contains(self, pin_type: PinType) -> bool {
        self.0 == 0 || self.0 & type_bit(pin_type) != 0
    }
}

fn type_bit(pin_type: PinType) -> u8 {
    match pin_type {
        PinType::Data => 1,
        PinType::Meta => 2,
        PinType::ClusterDag => 4,
        PinType::Shard => 8,
    }
}

/// One peer's word on a pin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinInfoShort {
    /// The peer's name.
    #[serde(default)]
    pub peername: String,
    /// Its IPFS node; left out when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipfs_peer_id: Option<PeerId>,
    /// That node's public multiaddrs; left out when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipfs_peer_addresses: Vec<String>,
    /// How far it has come.
    pub status: TrackerStatus,
    /// Of the last change of a running or failed operation, else of the pin.
    #[serde(default)]
    pub timestamp: Time,
    /// Why it failed, empty if it did not.
    #[serde(default)]
    pub error: String,
    /// How often it was tried.
    #[serde(default)]
    pub attempt_count: u64,
    /// Whether it goes before others in the queue.
    #[serde(default)]
    pub priority_pin: bool,
}

/// What all peers say of a pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalPinInfo {
    /// Which.
    #[serde(deserialize_with = "lenient::some_cid")]
    pub cid: Cid,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Who holds it, `[]` when everywhere.
    #[serde(default)]
    pub allocations: Option<Vec<PeerId>>,
    /// Multiaddrs of nodes that have it.
    #[serde(default)]
    pub origins: Option<Vec<String>>,
    /// When it was pinned.
    #[serde(default)]
    pub created: Time,
    /// Free key/value pairs.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// By peer.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub peer_map: BTreeMap<PeerId, PinInfoShort>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn filters_keep_what_they_name() {
        let filter = StatusFilter::parse("error, pinned,nonsense").unwrap();
        for status in TrackerStatus::ALL {
            let named = [
                "undefined",
                "cluster_error",
                "pin_error",
                "unpin_error",
                "pinned",
            ];
            assert_eq!(
                filter.contains(status),
                named.contains(&status.as_str()),
                "{status}"
            );
        }
        assert_eq!(
            filter.to_string(),
            "cluster_error,pin_error,unpin_error,pinned"
        );
    }

    #[test]
    fn a_filter_of_unknown_names_alone_is_refused() {
        assert_eq!(StatusFilter::parse("foo"), Err(FilterError));
        assert_eq!(StatusFilter::parse("undefined"), Err(FilterError));
        assert_eq!(PinTypeFilter::parse("foo"), Err(FilterError));
        assert_eq!(StatusFilter::parse(""), Ok(StatusFilter::ALL));
        assert!(
            !PinTypeFilter::parse("pin,foo")
                .unwrap()
                .contains(PinType::Shard)
        );
        assert!(
            PinTypeFilter::parse("pin,all")
                .unwrap()
                .contains(PinType::Shard)
        );
    }

    #[test]
    fn the_errors_do_not_include_the_unexpected() {
        let errors = StatusFilter::parse("error").unwrap();
        assert!(!errors.contains(TrackerStatus::UnexpectedlyUnpinned));
    }

    #[test]
    fn a_status_of_a_newer_peer_is_undefined() {
        let info: PinInfoShort = serde_json::from_str(r#"{"status":"resting"}"#).unwrap();
        assert_eq!(info.status, TrackerStatus::Undefined);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in ".{0,64}") {
            let _ = (StatusFilter::parse(&text), PinTypeFilter::parse(&text));
            let _ = serde_json::from_str::<GlobalPinInfo>(&text);
        }

        #[test]
        fn printed_filters_are_read_back(picks in proptest::collection::vec(0usize..13, 1..6)) {
            let picked: Vec<_> = picks.iter().map(|i| TrackerStatus::ALL[*i]).collect();
            let filter = StatusFilter::of(&picked);
            prop_assert_eq!(StatusFilter::parse(&filter.to_string()), Ok(filter));
        }
    }
}
