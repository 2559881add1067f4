//! What a user asks of a pin, in the query of a request, before the cluster's defaults are filled in.

use std::collections::BTreeMap;

use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, DurationError},
    error::{CidError, parse_cid},
    query::Query,
    time::{Time, TimeError},
};
use crate::{
    id::{Cid, PeerId},
    pin::{PinMode, PinSpec, PinType, Replication, ReplicationError},
    time::Timestamp,
};

const META: &str = "meta-";

/// Options of a pin as asked for: 0 stands for the cluster's default factor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinOptions {
    /// Fewest copies; -1 everywhere, 0 the default.
    pub replication_factor_min: i32,
    /// Most copies; -1 everywhere, 0 the default.
    pub replication_factor_max: i32,
    /// Free text.
    pub name: String,
    /// Recursive or direct.
    pub mode: PinMode,
    /// Target size of a shard, 0 for none.
    pub shard_size: u64,
    /// Peers the user wants first.
    pub user_allocations: Vec<PeerId>,
    /// When the cluster removes it.
    pub expire_at: Option<Timestamp>,
    /// Free key/value pairs.
    pub metadata: BTreeMap<String, String>,
    /// The pin whose options are taken over.
    pub pin_update: Option<Cid>,
    /// Multiaddrs (with `/p2p/`) of nodes that have the content.
    pub origins: Vec<String>,
}

/// A query that asks for something impossible. The texts are what clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No number.
    #[error("parameter {0} invalid")]
    Parameter(&'static str),
    /// No number.
    #[error("parameter shard_size is invalid")]
    ShardSize,
    /// No RFC 3339 time.
    #[error("expire-at cannot be parsed: {0}")]
    ExpireAt(TimeError),
    /// No duration.
    #[error("expire-in cannot be parsed: {0}")]
    ExpireIn(DurationError),
    /// Below one second.
    #[error("expire-in duration too short")]
    ExpireInShort,
    /// No CID.
    #[error("error decoding update option parameter: {0}")]
    PinUpdate(CidError),
    /// No multiaddr.
    #[error("error decoding multiaddress: {0}")]
    Origin(String),
    /// A multiaddr that does not say who is there.
    #[error("multiaddress does not contain peer ID: protocol not found in multiaddr")]
    OriginWithoutPeer,
    /// Anything else that is neither.
    #[error("{0} parameter is invalid")]
    Choice(&'static str),
}

impl From<super::query::ParameterError> for OptionsError {
    fn from(e: super::query::ParameterError) -> Self {
        Self::Parameter(e.0)
    }
}

impl PinOptions {
    /// Reads the options of a query; other parameters are ignored. `now` is what `expire-in`
    /// counts from.
    pub fn from_query(query: &Query, now: Timestamp) -> Result<Self, OptionsError> {
        let (min, max) = factors(query)?;
        Ok(Self {
            replication_factor_min: min,
            replication_factor_max: max,
            name: query.get("name").to_owned(),
            mode: match query.get("mode") {
                "direct" => PinMode::Direct,
                _ => PinMode::Recursive,
            },
            shard_size: match query.get("shard-size") {
                "" => 0,
                text => text.parse().map_err(|_| OptionsError::ShardSize)?,
            },
            // What is no peer ID is dropped: a list of wishes may name who is not there any more.
            user_allocations: list(query, "user-allocations")
                .filter_map(|text| text.parse().ok())
                .collect(),
            expire_at: expiry(query, now)?,
            metadata: metadata(query),
            pin_update: match query.get("pin-update") {
                "" => None,
                text => Some(parse_cid(text).map_err(OptionsError::PinUpdate)?),
            },
            origins: list(query, "origins")
                .map(origin)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Appends the options to a query; [`Self::from_query`] reads the same from it.
    pub fn to_query(&self, query: &mut Query) {
        query.push("replication-min", self.replication_factor_min);
        query.push("replication-max", self.replication_factor_max);
        query.push("name", &self.name);
        query.push("mode", self.mode);
        query.push("shard-size", self.shard_size);
        let peers: Vec<_> = self
            .user_allocations
            .iter()
            .map(ToString::to_string)
            .collect();
        query.push("user-allocations", peers.join(","));
        if let Some(at) = self.expire_at {
            query.push("expire-at", Time::from(at));
        }
        for (key, value) in self.metadata.iter().filter(|(k, _)| !k.is_empty()) {
            query.push(format!("{META}{key}"), value);
        }
        if let Some(cid) = self.pin_update {
            query.push("pin-update", cid);
        }
        if !self.origins.is_empty() {
            query.push("origins", self.origins.join(","));
        }
    }

    /// What is asked for `cid`, with factors of 0 replaced by those of `default` (min, max).
    pub fn spec(&self, cid: Cid, default: (i32, i32)) -> Result<PinSpec, ReplicationError> {
        Ok(PinSpec {
            cid,
            name: self.name.clone(),
            mode: self.mode,
            pin_type: PinType::Data,
            replication: Replication::with_defaults(
                self.replication_factor_min,
                self.replication_factor_max,
                default,
            )?,
            user_allocations: self.user_allocations.clone(),
            expire_at: self.expire_at,
            metadata: self.metadata.clone(),
            pin_update: self.pin_update,
            origins: self.origins.clone(),
            shard_size: self.shard_size,
            size: 0,
            reference: None,
        })
    }
}

/// `replication` wins over `replication-min` and `replication-max`.
fn factors(query: &Query) -> Result<(i32, i32), OptionsError> {
    if query.get("replication").is_empty() {
        let min = query.int("replication-min", 0)?;
        return Ok((min, query.int("replication-max", 0)?));
    }
    let both = query
        .int("replication", 0)
        .map_err(|_| OptionsError::Parameter("replication-min"))?;
    Ok((both, both))
}

fn list<'a>(query: &'a Query, key: &'a str) -> impl Iterator<Item = &'a str> {
    query.get(key).split(',').filter(|text| !text.is_empty())
}

fn expiry(query: &Query, now: Timestamp) -> Result<Option<Timestamp>, OptionsError> {
    let (at, within) = (query.get("expire-at"), query.get("expire-in"));
    if !at.is_empty() {
        let time: Time = at.parse().map_err(OptionsError::ExpireAt)?;
        return Ok(time.timestamp());
    }
    if within.is_empty() {
        return Ok(None);
    }
    let (negative, size) = match within.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, within),
    };
    let duration = duration::parse(size).map_err(OptionsError::ExpireIn)?;
    if negative || duration.as_secs() == 0 {
        return Err(OptionsError::ExpireInShort);
    }
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Some(now.plus_ms(ms)))
}

fn metadata(query: &Query) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (key, value) in query.pairs() {
        if let Some(key) = key.strip_prefix(META).filter(|k| !k.is_empty()) {
            found
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
    found
}

fn origin(text: &str) -> Result<String, OptionsError> {
    let shown = || text.chars().take(256).collect::<String>();
    let refused =
        |why: &str| OptionsError::Origin(format!("failed to parse multiaddr {:?}: {why}", shown()));
    if !text.starts_with('/') {
        return Err(refused("must begin with /"));
    }
    let address: Multiaddr = text
        .parse()
        .map_err(|e: multiaddr::Error| refused(&e.to_string()))?;
    if address.iter().any(|p| matches!(p, Protocol::P2p(_))) {
        Ok(address.to_string())
    } else {
        Err(OptionsError::OriginWithoutPeer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const PEER: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";

    fn read(query: &str) -> Result<PinOptions, OptionsError> {
        PinOptions::from_query(&Query::parse(query), NOW)
    }

    #[test]
    fn options_are_read_from_a_query() {
        let options = read(&format!(
            "replication=2&replication-min=1&name=a+b&mode=direct&shard-size=7&expire-in=1m&meta-k=v&meta-k=w&meta-=x&user-allocations=abc,{PEER}&origins=/ip4/1.2.3.4/tcp/1/p2p/{PEER}&other=1"
        ))
        .unwrap();
        let expected = PinOptions {
            replication_factor_min: 2,
            replication_factor_max: 2,
            name: "a b".to_owned(),
            mode: PinMode::Direct,
            shard_size: 7,
            user_allocations: vec![PEER.parse().unwrap()],
            expire_at: Some(NOW.plus_ms(60_000)),
            metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            pin_update: None,
            origins: vec![format!("/ip4/1.2.3.4/tcp/1/p2p/{PEER}")],
        };
        assert_eq!(options, expected);
        assert_eq!(
            read("mode=foo&expire-at=0001-01-01T00:00:00Z"),
            Ok(PinOptions::default())
        );
    }

    #[test]
    fn bad_values_are_told_in_known_words() {
        for (query, text) in [
            ("replication=x", "parameter replication-min invalid"),
            ("replication-min=x", "parameter replication-min invalid"),
            ("replication-max=1.5", "parameter replication-max invalid"),
            ("shard-size=-1", "parameter shard_size is invalid"),
            ("expire-at=tomorrow", "expire-at cannot be parsed: "),
            (
                "expire-in=foo",
                r#"expire-in cannot be parsed: time: invalid duration "foo""#,
            ),
            ("expire-in=999ms", "expire-in duration too short"),
            ("expire-in=-5s", "expire-in duration too short"),
            (
                "pin-update=abc",
                "error decoding update option parameter: invalid cid: ",
            ),
            (
                "origins=abc",
                r#"error decoding multiaddress: failed to parse multiaddr "abc": must begin with /"#,
            ),
            (
                "origins=/ip4/1.2.3.4/tcp/1",
                "multiaddress does not contain peer ID: protocol not found in multiaddr",
            ),
        ] {
            let error = read(query).unwrap_err().to_string();
            assert!(error.starts_with(text), "{query}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_client_and_a_server_agree(
            min in -1i32..9, max in -1i32..9, name in ".{0,20}", direct: bool, shard_size: u64, peer: bool,
            expire in proptest::option::of(1u64..200_000_000_000_000),
            metadata in proptest::collection::btree_map(".{1,6}", ".{0,6}", 0..4), origin: bool,
        ) {
            let options = PinOptions {
                replication_factor_min: min,
                replication_factor_max: max,
                name,
                mode: if direct { PinMode::Direct } else { PinMode::Recursive },
                shard_size,
                user_allocations: peer.then(|| PEER.parse().unwrap()).into_iter().collect(),
                expire_at: expire.map(Timestamp),
                metadata,
                pin_update: None,
                origins: origin.then(|| format!("/dns4/a.example/tcp/4001/p2p/{PEER}")).into_iter().collect(),
            };
            let mut query = Query::default();
            options.to_query(&mut query);
            prop_assert_eq!(read(&query.to_string()), Ok(options));
        }

        #[test]
        fn garbage_never_panics(key in "replication|shard-size|expire-at|expire-in|pin-update|origins|meta-x", value in ".{0,40}") {
            let mut query = Query::default();
            query.push(key, value);
            let _ = PinOptions::from_query(&query, NOW);
        }
    }
}
