//! Metrics and alerts as the API shows them.

use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::id::PeerId;

/// One value of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// `ping`, `freespace`, `reposize`, `pinqueue`, `tag:<key>`.
    pub name: String,
    /// Whose.
    pub peer: PeerId,
    /// As text; that of `ping` is itself JSON, a [`Ping`], or empty.
    pub value: String,
    /// When it stops counting, in nanoseconds since the Unix epoch.
    pub expire: i64,
    /// False when the peer could not measure it.
    pub valid: bool,
    /// Sorts candidates, larger is better.
    pub weight: i64,
    /// Whether peers of equal value form one group.
    pub partitionable: bool,
    /// When it arrived, in nanoseconds since the Unix epoch.
    pub received_at: i64,
}

/// What the value of a `ping` metric holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// The peer's name.
    #[serde(default)]
    pub peer_name: String,
    /// Its IPFS node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipfs_id: Option<PeerId>,
    /// Where that is; left out when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipfs_addresses: Vec<String>,
}

/// A metric that lapsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its last value.
    #[serde(flatten)]
    pub metric: Metric,
    /// When it was noticed.
    pub triggered_at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn an_alert_is_a_metric_with_a_time() {
        let peer = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";
        let alert = Alert {
            metric: Metric {
                name: "pinqueue".to_owned(),
                peer: peer.parse().unwrap(),
                value: "0".to_owned(),
                expire: 1_795_355_470_427_573_622,
                valid: true,
                weight: 0,
                partitionable: false,
                received_at: 1_795_355_440_427_573_622,
            },
            triggered_at: Time::from(Timestamp(0)),
        };
        let text = serde_json::to_string(&alert).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"name":"pinqueue","peer":"{peer}","value":"0","expire":1795355470427573622,"valid":true,"weight":0,"partitionable":false,"received_at":1795355440427573622,"triggered_at":"1970-01-01T00:00:00Z"}}"#
            )
        );
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), alert);
    }
}
