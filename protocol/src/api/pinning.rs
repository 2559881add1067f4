//! The Pinning Service API: shapes of version 1.0.0 of its specification, and the looser ones that
//! clients of the Go program's send.

use std::{collections::BTreeMap, fmt, str::FromStr};

use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};

use super::{
    error::{CidError, parse_cid},
    query::Query,
    status::TrackerStatus,
    time::{Time, TimeError},
};
use crate::{
    id::Cid,
    limits::{NAME_CHARS_MAX, ORIGINS_MAX, PINS_CIDS_MAX, REQUESTS_LISTED_MAX},
    request::{RequestId, RequestKey},
};

/// Results of a list unless it is asked for more or fewer.
const LIMIT: usize = 10;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits.
    Queued,
    /// Is being fetched.
    Pinning,
    /// Is held.
    Pinned,
    /// Some peer could not.
    Failed,
}

impl Status {
    /// What all peers' statuses come to: the worst of them; none where no peer has to hold it.
    pub fn of(peers: impl IntoIterator<Item = TrackerStatus>) -> Option<Self> {
        let one = |status| match status {
            TrackerStatus::ClusterError | TrackerStatus::PinError | TrackerStatus::UnpinError => {
                Some((3, Self::Failed))
            }
            TrackerStatus::PinQueued => Some((2, Self::Queued)),
            TrackerStatus::Pinning => Some((1, Self::Pinning)),
            TrackerStatus::Pinned => Some((0, Self::Pinned)),
            _ => None,
        };
        let worst = peers.into_iter().filter_map(one).max_by_key(|(n, _)| *n);
        worst.map(|(_, status)| status)
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "queued" => Ok(Self::Queued),
            "pinning" => Ok(Self::Pinning),
            "pinned" => Ok(Self::Pinned),
            "failed" => Ok(Self::Failed),
            _ => Err(()),
        }
    }
}

/// What is asked for: the `Pin` of the specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The root.
    pub cid: Cid,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Multiaddrs of nodes that have the content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Free key/value pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
}

/// A body that asks for nothing that can be done. The texts are what clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WantedError {
    /// No JSON object of this kind.
    #[error("{0}")]
    Json(String),
    /// Cut off, or empty.
    #[error("{0}")]
    End(&'static str),
    /// Without a CID.
    #[error("cid is missing")]
    NoCid,
    /// No CID.
    #[error(transparent)]
    Cid(#[from] CidError),
    /// Too long a name.
    #[error("pin name is over {NAME_CHARS_MAX} chars")]
    Name,
    /// No multiaddr.
    #[error("failed to parse multiaddr {0:?}: {1}")]
    Origin(String, String),
    /// Too many origins.
    #[error("more than {ORIGINS_MAX} origins")]
    Origins,
}

impl Wanted {
    /// Reads the body of a request; unknown keys are ignored, `null` is as good as nothing.
    pub fn parse(body: &[u8]) -> Result<Self, WantedError> {
        #[derive(Deserialize)]
        struct Raw {
            cid: Option<String>,
            name: Option<String>,
            origins: Option<Vec<String>>,
            meta: Option<BTreeMap<String, String>>,
        }
        if body.trim_ascii().is_empty() {
            return Err(WantedError::End("EOF"));
        }
        let raw: Raw = serde_json::from_slice(body).map_err(|e| {
            if e.is_eof() {
                WantedError::End("unexpected EOF")
            } else {
                WantedError::Json(e.to_string())
            }
        })?;
        let cid = raw
            .cid
            .filter(|c| !c.is_empty())
            .ok_or(WantedError::NoCid)?;
        let wanted = Self {
            cid: parse_cid(&cid)?,
            name: raw.name.unwrap_or_default(),
            origins: raw.origins.unwrap_or_default(),
            meta: raw.meta.unwrap_or_default(),
        };
        if wanted.name.chars().count() > NAME_CHARS_MAX {
            return Err(WantedError::Name);
        }
        if wanted.origins.len() > ORIGINS_MAX {
            return Err(WantedError::Origins);
        }
        for text in &wanted.origins {
            let shown = || text.chars().take(256).collect();
            if !text.starts_with('/') {
                return Err(WantedError::Origin(shown(), "must begin with /".into()));
            }
            text.parse::<Multiaddr>()
                .map_err(|e| WantedError::Origin(shown(), e.to_string()))?;
        }
        Ok(wanted)
    }
}

/// A request and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinStatus {
    /// Its id.
    pub requestid: String,
    /// How far it has come.
    pub status: Status,
    /// When it was accepted.
    pub created: Time,
    /// What was asked for.
    pub pin: Wanted,
    /// Multiaddrs of the IPFS nodes that fetch it: who has the content connects to them.
    pub delegates: Vec<String>,
    /// What else there is to say.
    pub info: BTreeMap<String, String>,
}

/// A page of requests, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinResults {
    /// All that match, on whatever page.
    pub count: u64,
    /// As many as were asked for.
    pub results: Vec<PinStatus>,
}

/// What a request said wrong, or why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The only member.
    pub error: FailureReason,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReason {
    /// In short.
    pub reason: String,
    /// In more words, if there are any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

/// Reads the id of a path: a request's, or a CID, as clients of the Go program have it.
pub fn parse_key(text: &str) -> Result<RequestKey, CidError> {
    match text.parse::<RequestId>() {
        Ok(id) => Ok(RequestKey::Id(id)),
        Err(_) => parse_cid(text).map(RequestKey::Cid),
    }
}

/// How names are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameMatch {
    /// The whole name.
    #[default]
    Exact,
    /// The whole name, in any case.
    IExact,
    /// A part of it.
    Partial,
    /// A part of it, in any case.
    IPartial,
}

/// What a list is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of these CIDs; empty for all.
    pub cids: Vec<Cid>,
    /// With this name; empty for all.
    pub name: String,
    /// How names are compared.
    pub name_match: NameMatch,
    /// In one of these; empty for all.
    pub statuses: Vec<Status>,
    /// Accepted before this time.
    pub before: Option<Time>,
    /// Accepted after this time.
    pub after: Option<Time>,
    /// With all these pairs.
    pub meta: BTreeMap<String, String>,
    /// Results at most.
    pub limit: usize,
}

/// A query that cannot be understood. The texts are what clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No CID.
    #[error("error decoding cid {0}: {1}")]
    Cid(String, CidError),
    /// Too many.
    #[error("error decoding 'cid' query param: more than {PINS_CIDS_MAX}")]
    Cids,
    /// Too long.
    #[error("error in 'name' query param: longer than {NAME_CHARS_MAX} chars")]
    Name,
    /// None of those that there are.
    #[error("error decoding 'status' query param: no valid filter")]
    Status,
    /// No RFC 3339 time.
    #[error("error decoding '{0}' query param: {1}: {2}")]
    Time(&'static str, String, TimeError),
    /// No number, or one that is out of bounds.
    #[error(
        "error parsing 'limit' query param: {0}: must be a number from 0 to {REQUESTS_LISTED_MAX}"
    )]
    Limit(String),
    /// No object of texts.
    #[error("error unmarshalling 'meta' query param: {0}: {1}")]
    Meta(String, String),
}

fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}

impl Filter {
    /// Reads a query. An unknown way to match is `exact`, an unknown status is ignored where
    /// another one is known, and no status means any: clients of the Go program rely on it.
    pub fn from_query(query: &Query) -> Result<Self, FilterError> {
        let name = query.get("name").to_owned();
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(FilterError::Name);
        }
        Ok(Self {
            cids: cids(query)?,
            name,
            name_match: match query.get("match") {
                "iexact" => NameMatch::IExact,
                "partial" => NameMatch::Partial,
                "ipartial" => NameMatch::IPartial,
                _ => NameMatch::Exact,
            },
            statuses: statuses(query)?,
            before: time(query, "before")?,
            after: time(query, "after")?,
            meta: meta(query)?,
            limit: match query.get("limit") {
                "" => LIMIT,
                text => text
                    .parse()
                    .ok()
                    .filter(|n| *n <= REQUESTS_LISTED_MAX)
                    .ok_or_else(|| FilterError::Limit(shown(text)))?,
            },
        })
    }

    /// Whether a request matches, but for its status and its CID.
    #[must_use]
    pub fn matches(&self, name: &str, created: Time, meta: &BTreeMap<String, String>) -> bool {
        let wanted = self.name.as_str();
        let named = match self.name_match {
            _ if wanted.is_empty() => true,
            NameMatch::Exact => name == wanted,
            NameMatch::IExact => name.to_lowercase() == wanted.to_lowercase(),
            NameMatch::Partial => name.contains(wanted),
            NameMatch::IPartial => name.to_lowercase().contains(&wanted.to_lowercase()),
        };
        named
            && self.before.is_none_or(|t| created < t)
            && self.after.is_none_or(|t| created > t)
            && self.meta.iter().all(|(k, v)| meta.get(k) == Some(v))
    }

    /// Whether a request in this status matches; one that no peer has to hold never does.
    #[must_use]
    pub fn matches_status(&self, status: Option<Status>) -> bool {
        status.is_some_and(|s| self.statuses.is_empty() || self.statuses.contains(&s))
    }
}

/// A JSON object, or, as a client that is generated from the specification writes it, `meta[key]`.
fn meta(query: &Query) -> Result<BTreeMap<String, String>, FilterError> {
    let mut wanted: BTreeMap<String, String> = match query.get("meta") {
        "" => BTreeMap::new(),
        text => {
            serde_json::from_str(text).map_err(|e| FilterError::Meta(shown(text), e.to_string()))?
        }
    };
    for (key, value) in query.pairs() {
        let key = key.strip_prefix("meta[").and_then(|k| k.strip_suffix(']'));
        if let Some(key) = key {
            wanted.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(wanted)
}

fn cids(query: &Query) -> Result<Vec<Cid>, FilterError> {
    let texts = query.all("cid").flat_map(|list| list.split(','));
    let mut cids = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        if cids.len() == PINS_CIDS_MAX {
            return Err(FilterError::Cids);
        }
        cids.push(parse_cid(text).map_err(|e| FilterError::Cid(shown(text), e))?);
    }
    cids.sort_unstable();
    cids.dedup();
    Ok(cids)
}

fn statuses(query: &Query) -> Result<Vec<Status>, FilterError> {
    let texts: Vec<&str> = query
        .all("status")
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    let mut known: Vec<Status> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    known.sort_unstable();
    known.dedup();
    if known.is_empty() && !texts.is_empty() {
        return Err(FilterError::Status);
    }
    Ok(known)
}

fn time(query: &Query, key: &'static str) -> Result<Option<Time>, FilterError> {
    match query.get(key) {
        "" => Ok(None),
        text => match text.parse() {
            Ok(time) => Ok(Some(time)),
            Err(e) => Err(FilterError::Time(key, shown(text), e)),
        },
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CID: &str = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";

    fn refused(body: &str) -> String {
        Wanted::parse(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn bodies_are_read_as_clients_send_them() {
        let full = format!(
            r#"{{"cid":"{CID}","name":"n","origins":["/ip4/1.2.3.4/tcp/1"],"meta":{{"a":"b"}},"zzz":1}}"#
        );
        let wanted = Wanted::parse(full.as_bytes()).unwrap();
        assert_eq!((wanted.name.as_str(), wanted.origins.len()), ("n", 1));
        let bare = format!(r#"{{"cid":"{CID}","name":null,"origins":null,"meta":null}}"#);
        assert!(Wanted::parse(bare.as_bytes()).is_ok());
        assert_eq!(refused("{"), "unexpected EOF");
        assert_eq!(refused(""), "EOF");
        assert_eq!(refused("{}"), "cid is missing");
        assert_eq!(
            refused(r#"{"cid":"abc"}"#),
            "invalid cid: selected encoding not supported"
        );
        let long = format!(r#"{{"cid":"{CID}","name":"{}"}}"#, "n".repeat(256));
        assert_eq!(refused(&long), "pin name is over 255 chars");
        let odd = format!(r#"{{"cid":"{CID}","origins":["foo"]}}"#);
        assert_eq!(
            refused(&odd),
            r#"failed to parse multiaddr "foo": must begin with /"#
        );
    }

    #[test]
    fn the_worst_peer_counts() {
        use TrackerStatus as T;
        assert_eq!(Status::of([T::Pinned, T::Remote]), Some(Status::Pinned));
        assert_eq!(Status::of([T::Pinned, T::Pinning]), Some(Status::Pinning));
        assert_eq!(Status::of([T::PinQueued, T::Pinning]), Some(Status::Queued));
        assert_eq!(Status::of([T::PinError, T::Pinned]), Some(Status::Failed));
        assert_eq!(Status::of([T::Remote, T::Sharded]), None);
    }

    #[test]
    fn queries_are_read_as_clients_send_them() {
        let read = |text: &str| Filter::from_query(&Query::parse(text)).map_err(|e| e.to_string());
        let filter = read("status=queued,foo&name=X&match=ipartial&limit=0").unwrap();
        assert_eq!((filter.statuses, filter.limit), (vec![Status::Queued], 0));
        assert_eq!(read("").unwrap().limit, 10);
        for text in ["meta=%7B%22a%22%3A%22b%22%7D", "meta%5Ba%5D=b"] {
            assert_eq!(read(text).unwrap().meta["a"], "b", "{text}");
        }
        assert!(read("status=foo").unwrap_err().ends_with("no valid filter"));
        assert!(read("limit=1001").is_err() && read("limit=-1").is_err());
        assert!(
            read("meta=x")
                .unwrap_err()
                .contains("'meta' query param: x")
        );
        assert!(
            read("before=x")
                .unwrap_err()
                .contains("'before' query param: x")
        );
        assert!(
            read("cid=abc")
                .unwrap_err()
                .starts_with("error decoding cid abc: ")
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..99), text in ".{0,60}") {
            let _ = (Wanted::parse(&bytes), Wanted::parse(text.as_bytes()), parse_key(&text));
            for key in ["cid", "name", "status", "before", "limit", "meta"] {
                let mut query = Query::default();
                query.push(key, &text);
                let _ = Filter::from_query(&query);
            }
        }
    }
}
