//! The value of the ping metric: JSON, as the Go program writes it, and a little more.

use ipfs_cluster_protocol::id::PeerId;
use ipfs_cluster_protocol::limits;
use serde::{Deserialize, Serialize};

/// What a peer says of itself in its pings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ping {
    /// Shown to users.
    #[serde(default)]
    pub peer_name: String,
    /// Its IPFS node; none while that does not answer.
    #[serde(default, with = "empty_is_none")]
    pub ipfs_id: Option<PeerId>,
    /// Where its IPFS node listens, with `/p2p/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipfs_addresses: Vec<String>,
    /// Why its IPFS node does not answer; an addition to the Go program's fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipfs_error: Option<String>,
}

impl Ping {
    /// The metric's value.
    #[must_use]
    pub fn to_value(&self) -> String {
        let mut bounded = self.clone();
        bounded
            .ipfs_addresses
            .retain(|a| a.len() <= limits::PING_TEXT_BYTES_MAX);
        bounded.ipfs_addresses.truncate(limits::PING_ADDRESSES_MAX);
        if let Some(error) = &mut bounded.ipfs_error {
            let cut = error.floor_char_boundary(limits::PING_TEXT_BYTES_MAX);
            error.truncate(cut);
        }
        serde_json::to_string(&bounded).unwrap_or_default()
    }

    /// Reads a metric's value; none for anything else, also for the empty one.
    #[must_use]
    pub fn from_value(value: &str) -> Option<Self> {
        let mut ping: Self = serde_json::from_str(value).ok()?;
        ping.ipfs_addresses.truncate(limits::PING_ADDRESSES_MAX);
        Some(ping)
    }
}

/// The Go program writes an unknown peer ID as an empty text.
mod empty_is_none {
    use ipfs_cluster_protocol::id::PeerId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &Option<PeerId>, s: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => s.collect_str(id),
            None => s.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PeerId>, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "12D3KooWNRqZnLzRZvz7ov5YAWFjJqvJQp1hBkdk7QShFZBLyRMD";

    #[test]
    fn it_reads_as_the_go_program_writes_it() {
        let go = format!(
            r#"{{"peer_name":"peer1","ipfs_id":"{ID}","ipfs_addresses":["/ip4/1.2.3.4/tcp/4001/p2p/{ID}"]}}"#
        );
        let ping = Ping::from_value(&go).unwrap();
        assert_eq!(ping.ipfs_id, Some(ID.parse().unwrap()));
        assert_eq!(ping.to_value(), go);
        let down = Ping::from_value(r#"{"peer_name":"p","ipfs_id":""}"#).unwrap();
        assert_eq!(down.ipfs_id, None);
        assert_eq!(down.to_value(), r#"{"peer_name":"p","ipfs_id":""}"#);
    }

    #[test]
    fn anything_else_is_no_ping() {
        for bad in [
            "",
            "x",
            "7",
            r#"{"ipfs_id":"nonsense"}"#,
            r#"{"peer_name":5}"#,
        ] {
            assert_eq!(Ping::from_value(bad), None, "{bad}");
        }
    }

    #[test]
    fn it_is_bounded() {
        let ping = Ping {
            ipfs_addresses: vec!["/a".repeat(100); 1000],
            ipfs_error: Some("é".repeat(1000)),
            ..Ping::default()
        };
        let back = Ping::from_value(&ping.to_value()).unwrap();
        assert_eq!(back.ipfs_addresses.len(), limits::PING_ADDRESSES_MAX);
        assert_eq!(
            back.ipfs_error.map(|e| e.len()),
            Some(limits::PING_TEXT_BYTES_MAX)
        );
    }
}
