//! The Pin object: one line of `GET /allocations` and of a state export.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{lenient, time::Time};
use crate::{
    id::{Cid, PeerId},
    pin::{self, PinMode, PinSpec, PinType, Replication, ReplicationError},
    time::Timestamp,
};

/// A pin as the API shows it. Keys come in the order of the fields.
///
/// Reading is tolerant, for the sake of state files of other versions: everything but `cid` may be
/// missing or `null`, and unknown keys are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Fewest copies; -1 everywhere.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub replication_factor_min: i32,
    /// Most copies; -1 everywhere.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub replication_factor_max: i32,
    /// Free text.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    /// `recursive` or `direct`.
    #[serde(default, deserialize_with = "lenient::mode")]
    pub mode: PinMode,
    /// Target size of a shard.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub shard_size: u64,
    /// In the reply to the pin call only.
    #[serde(default)]
    pub user_allocations: Option<Vec<PeerId>>,
    /// Zero: never.
    #[serde(default)]
    pub expire_at: Time,
    /// `{}` in the reply to the pin call without metadata, `null` when read back.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// The source of a pin update.
    #[serde(default, deserialize_with = "lenient::cid")]
    pub pin_update: Option<Cid>,
    /// `null` in the reply to the pin call, `[]` when read back.
    #[serde(default)]
    pub origins: Option<Vec<String>>,
    /// The root.
    #[serde(deserialize_with = "lenient::some_cid")]
    pub cid: Cid,
    /// `pin`, `meta-pin`, `clusterdag-pin`, `shard-pin`.
    #[serde(default, rename = "type", deserialize_with = "lenient::or_default")]
    pub pin_type: PinType,
    /// Who holds it, in order of choice; `[]` when everywhere.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub allocations: Vec<PeerId>,
    /// -1 recursive, 0 direct, 1 shard.
    #[serde(default = "endless")]
    pub max_depth: i64,
    /// Another CID this one belongs to.
    #[serde(default, deserialize_with = "lenient::cid")]
    pub reference: Option<Cid>,
    /// When it was submitted.
    #[serde(default)]
    pub timestamp: Time,
}

fn endless() -> i64 {
    -1
}

/// The depth that goes with a type and a mode.
fn max_depth(spec: &PinSpec) -> i64 {
    match (spec.pin_type, spec.mode) {
        (PinType::Data, PinMode::Recursive) => -1,
        (PinType::Data, PinMode::Direct) | (PinType::Meta | PinType::ClusterDag, _) => 0,
        (PinType::Shard, _) => 1,
    }
}

impl From<&pin::Pin> for Pin {
    /// As it is read back from the state: whole seconds, no user allocations.
    fn from(pin: &pin::Pin) -> Self {
        let spec = &pin.spec;
        let max_depth = max_depth(spec);
        Self {
            replication_factor_min: spec.replication.min(),
            replication_factor_max: spec.replication.max(),
            name: spec.name.clone(),
            mode: if max_depth == 0 {
                PinMode::Direct
            } else {
                PinMode::Recursive
            },
            shard_size: spec.shard_size,
            user_allocations: None,
            expire_at: Time::from_option(spec.expire_at).whole_seconds(),
            metadata: Some(spec.metadata.clone()).filter(|m| !m.is_empty()),
            pin_update: spec.pin_update,
            origins: Some(spec.origins.clone()),
            cid: spec.cid,
            pin_type: spec.pin_type,
            allocations: pin.allocations.clone(),
            max_depth,
            reference: spec.reference,
            timestamp: Time::from(pin.timestamp).whole_seconds(),
        }
    }
}

impl Pin {
    /// As the reply to the call that made it: with the user's allocations and the full timestamp.
    #[must_use]
    pub fn submitted(pin: &pin::Pin) -> Self {
        let spec = &pin.spec;
        Self {
            user_allocations: Some(spec.user_allocations.clone()).filter(|a| !a.is_empty()),
            expire_at: Time::from_option(spec.expire_at),
            metadata: Some(spec.metadata.clone()),
            origins: Some(spec.origins.clone()).filter(|o| !o.is_empty()),
            timestamp: Time::from(pin.timestamp),
            ..Self::from(pin)
        }
    }

    /// What was asked for; a factor of 0 becomes that of `default` (min, max).
    pub fn spec(&self, default: (i32, i32)) -> Result<PinSpec, ReplicationError> {
        Ok(PinSpec {
            cid: self.cid,
            name: self.name.clone(),
            mode: match (self.pin_type, self.max_depth) {
                (PinType::Data, 0) => PinMode::Direct,
                (PinType::Data, _) => self.mode,
                (PinType::ClusterDag, _) => PinMode::Direct,
                (PinType::Meta | PinType::Shard, _) => PinMode::Recursive,
            },
            pin_type: self.pin_type,
            replication: Replication::with_defaults(
                self.replication_factor_min,
                self.replication_factor_max,
                default,
            )?,
            user_allocations: self.user_allocations.clone().unwrap_or_default(),
            expire_at: self.expire_at.timestamp(),
            metadata: self.metadata.clone().unwrap_or_default(),
            pin_update: self.pin_update,
            origins: self.origins.clone().unwrap_or_default(),
            shard_size: self.shard_size,
            size: 0,
            reference: self.reference,
        })
    }

    /// When it was submitted, 0 if it does not say.
    #[must_use]
    pub fn submitted_at(&self) -> Timestamp {
        self.timestamp.timestamp().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Rev, Seq};

    const EXAMPLE: &str = r#"{"replication_factor_min":-1,"replication_factor_max":-1,"name":"","mode":"recursive","shard_size":0,"user_allocations":null,"expire_at":"0001-01-01T00:00:00Z","metadata":null,"pin_update":null,"origins":[],"cid":"QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n","type":"pin","allocations":[],"max_depth":-1,"reference":null,"timestamp":"2026-11-22T14:06:05Z"}"#;
    const EVERYWHERE: (i32, i32) = (-1, -1);

    fn stored(spec: PinSpec) -> pin::Pin {
        pin::Pin {
            seq: Seq(1),
            rev: Rev(1),
            spec,
            allocations: Vec::new(),
            copies: 0,
            timestamp: Timestamp(1_795_356_365_123),
        }
    }

    fn example() -> pin::Pin {
        let pin: Pin = serde_json::from_str(EXAMPLE).unwrap();
        stored(pin.spec(EVERYWHERE).unwrap())
    }

    #[test]
    fn a_stored_pin_prints_as_recorded() {
        let printed = serde_json::to_string(&Pin::from(&example())).unwrap();
        assert_eq!(printed, EXAMPLE);
    }

    #[test]
    fn the_reply_has_nulls_where_the_state_has_empty_values() {
        let reply = serde_json::to_value(Pin::submitted(&example())).unwrap();
        assert_eq!(reply["metadata"], serde_json::json!({}));
        assert_eq!(reply["origins"], serde_json::Value::Null);
        assert_eq!(reply["timestamp"], "2026-11-22T14:06:05.123Z");
    }

    #[test]
    fn a_file_of_an_older_version_is_read() {
        let pin: Pin = serde_json::from_str(
            r#"{"cid":{"/":"QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"},"origins":null,"type":"pin","max_depth":0,"extra":1}"#,
        )
        .unwrap();
        let spec = pin.spec((2, 3)).unwrap();
        assert_eq!(spec.mode, PinMode::Direct);
        assert_eq!(spec.replication, Replication::Factor { min: 2, max: 3 });
    }

    #[test]
    fn a_pin_without_cid_or_with_a_wrong_type_is_refused() {
        for text in [
            r#"{"name":"x"}"#,
            r#"{"cid":null}"#,
            r#"{"cid":"abc"}"#,
            r#"{"cid":"QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n","type":"bad-type"}"#,
        ] {
            assert!(serde_json::from_str::<Pin>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in ".{0,200}") {
            let _ = serde_json::from_str::<Pin>(&text);
        }

        #[test]
        fn what_is_exported_is_imported(
            name in ".{0,20}", min in 1u32..9, more in 0u32..9, depth in 0u8..5, shard_size in any::<u64>(),
            expire in proptest::option::of(0u64..200_000_000_000), key in "[a-z]{0,5}", origin in "[a-z/]{0,9}",
        ) {
            let mut pin = example();
            pin.timestamp = Timestamp(1_795_356_365_000);
            pin.spec.name = name;
            pin.spec.replication = Replication::Factor { min, max: min + more };
            pin.spec.shard_size = shard_size;
            pin.spec.expire_at = expire.map(|s| Timestamp(s * 1000));
            pin.spec.origins.push(origin);
            pin.spec.metadata.insert(key, "v".to_owned());
            (pin.spec.pin_type, pin.spec.mode) = match depth {
                0 => (PinType::Data, PinMode::Recursive),
                1 => (PinType::Data, PinMode::Direct),
                2 => (PinType::Meta, PinMode::Recursive),
                3 => (PinType::ClusterDag, PinMode::Direct),
                _ => (PinType::Shard, PinMode::Recursive),
            };
            let text = serde_json::to_string(&Pin::from(&pin)).unwrap();
            let read: Pin = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.spec(EVERYWHERE).unwrap(), pin.spec);
            prop_assert_eq!(read.submitted_at(), pin.timestamp);
        }
    }
}
