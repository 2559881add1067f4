//! Whether an answer says what the recorded one says.
//!
//! Values are compared but for those that cannot be the same in another run: times (whether there
//! is one), addresses, measurements, texts with a system's own errors, and the choice among equal
//! peers (how many). A field of a stored pin that is empty here may have any value in a recording:
//! the Go program leaks such values from earlier log entries, and a pin's metadata may have more
//! pairs there for the same reason. Objects of a list may come in any order.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keys whose numbers and texts are measured.
const MEASURED: &[&str] = &[
    "expire",
    "received_at",
    "weight",
    "RepoSize",
    "StorageMax",
    "total_in",
    "total_out",
    "rate_in",
    "rate_out",
    "attempt_count",
    "priority_pin",
    "value",
    "cluster_links",
    "ipfs_links",
    // Which blocks are garbage.
    "keys",
    // Which requests match, and how many, follows from leaked names and metadata.
    "count",
    "results",
];
/// Keys with lists of addresses.
const ADDRESSES: &[&str] = &[
    "addresses",
    "cluster_peers_addresses",
    "ipfs_peer_addresses",
    "delegates",
];
/// Keys of times.
const TIMES: &[&str] = &["created", "timestamp", "expire_at", "triggered_at"];
/// Keys that the Go program leaks from pin to pin.
const LEAKED: &[&str] = &[
    "name",
    "meta",
    "metadata",
    "expire_at",
    "origins",
    "reference",
    "pin_update",
    "shard_size",
];
/// Texts that are a system's own words.
const OWN_WORDS: &[&str] = &[
    "dial",
    "connection refused",
    "DNSLink",
    "no link named",
    "routing: not found",
    "context canceled",
];

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Values.
    Values,
    /// Kinds of values: of a cluster of another make.
    Shapes,
}

/// Compares two values; says where they differ.
#[derive(Debug)]
pub(crate) struct Comparison {
    depth: Depth,
    /// CIDs that a list may lack or have too many of: those of exchanges that were not played.
    pub(crate) excused: BTreeSet<String>,
    /// Whether allocations are the user's own choice, so that they must be the same.
    pub(crate) chosen: bool,
    /// Whether a list may lack what was pinned before the exchanges that are played.
    pub(crate) partial: bool,
    found: Vec<String>,
}

impl Comparison {
    pub(crate) fn new(depth: Depth) -> Self {
        Self {
            depth,
            excused: BTreeSet::new(),
            chosen: false,
            partial: false,
            found: Vec::new(),
        }
    }

    /// Where the values of two bodies differ, if anywhere.
    pub(crate) fn bodies(mut self, want: &str, got: &str, is_list: bool) -> Vec<String> {
        match (values(want), values(got)) {
            (Some(want), Some(got)) if is_list => self.list("", &want, &got),
            (Some(want), Some(got)) => self.ordered("", &want, &got),
            _ if want.trim() == got.trim() => {}
            _ => self.note("", &format!("{want:?}"), &format!("{got:?}")),
        }
        self.found
    }

    fn note(&mut self, at: &str, want: &str, got: &str) {
        let short = |text: &str| text.chars().take(200).collect::<String>();
        self.found.push(format!(
            "{at}: recorded {}, ours {}",
            short(want),
            short(got)
        ));
    }

    fn ordered(&mut self, at: &str, want: &[Value], got: &[Value]) {
        if self.depth == Depth::Shapes {
            if let (Some(want), Some(got)) = (want.first(), got.first()) {
                self.value(&format!("{at}[]"), want, got);
            }
            return;
        }
        if want.len() != got.len() {
            self.note(
                at,
                &Value::from(want).to_string(),
                &Value::from(got).to_string(),
            );
            return;
        }
        for (n, (want, got)) in want.iter().zip(got).enumerate() {
            self.value(&format!("{at}[{n}]"), want, got);
        }
    }

    /// Objects that are told apart by what they are about.
    fn list(&mut self, at: &str, want: &[Value], got: &[Value]) {
        let all = || want.iter().chain(got);
        if self.depth == Depth::Values && all().all(Value::is_string) {
            let words = |list: &[Value]| list.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            if words(want) != words(got) {
                self.note(at, &format!("{want:?}"), &format!("{got:?}"));
            }
            return;
        }
        let Some(key) = all().find_map(subject) else {
            return self.ordered(at, want, got);
        };
        if self.depth == Depth::Shapes {
            return self.ordered(at, want, got);
        }
        let find = |list: &[Value], id: &str| list.iter().find(|v| v[key] == id).cloned();
        let ids = all().filter_map(|v| Some(v[key].as_str()?.to_owned()));
        let ids: BTreeSet<String> = ids.collect();
        for id in ids {
            match (find(want, &id), find(got, &id)) {
                (Some(want), Some(got)) => self.value(&format!("{at}{id}"), &want, &got),
                _ if self.excused.contains(&id) => {}
                (Some(_), None) if self.partial => {}
                (Some(_), None) => self.note(at, &id, "missing"),
                _ => self.note(at, "missing", &id),
            }
        }
    }

    fn value(&mut self, at: &str, want: &Value, got: &Value) {
        let key = at.rsplit('.').next().unwrap_or_default();
        if self.depth == Depth::Shapes || MEASURED.contains(&key) {
            return self.shape(at, want, got);
        }
        match (want, got) {
            _ if TIMES.contains(&key) => {
                let same = is_set(want) == is_set(got);
                let leaked = key == "expire_at" && !is_set(got);
                if !same && !leaked {
                    self.note(at, &want.to_string(), &got.to_string());
                }
            }
            _ if ADDRESSES.contains(&key) => {
                if want.is_null() != got.is_null() {
                    self.note(at, &want.to_string(), &got.to_string());
                }
            }
            (Value::Object(want), Value::Object(got)) => self.objects(at, want, got),
            (Value::Array(want), Value::Array(got)) if key == "allocations" => {
                let set =
                    |list: &[Value]| list.iter().map(Value::to_string).collect::<BTreeSet<_>>();
                let same = if self.chosen {
                    set(want) == set(got)
                } else {
                    want.len() == got.len()
                };
                if !same {
                    self.note(
                        at,
                        &Value::from(want.clone()).to_string(),
                        &Value::from(got.clone()).to_string(),
                    );
                }
            }
            (Value::Array(want), Value::Array(got)) if want.iter().all(Value::is_string) => {
                let sorted =
                    |list: &[Value]| list.iter().map(Value::to_string).collect::<BTreeSet<_>>();
                if sorted(want) != sorted(got) {
                    self.note(at, &format!("{want:?}"), &format!("{got:?}"));
                }
            }
            (Value::Array(want), Value::Array(got)) => self.list(&format!("{at}."), want, got),
            (Value::String(want), Value::String(got)) if own_words(want) => {
                if got.is_empty() {
                    self.note(at, want, "nothing");
                }
            }
            _ if want == got => {}
            _ => self.note(at, &want.to_string(), &got.to_string()),
        }
    }

    fn objects(&mut self, at: &str, want: &Map<String, Value>, got: &Map<String, Value>) {
        let is_pin =
            at.ends_with(".pin") || want.contains_key("max_depth") || want.contains_key("peer_map");
        let placed = want
            .get("allocations")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
        let keys: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
        for key in keys {
            if key == "peer_map" && placed && !self.chosen {
                self.statuses(at, &want[key], &got.get(key).cloned().unwrap_or_default());
                continue;
            }
            let parent = at;
            let at = format!("{at}.{key}");
            match (want.get(key), got.get(key)) {
                (Some(want), Some(got)) if is_pin && LEAKED.contains(&key.as_str()) => {
                    if !is_leak(want, got) {
                        self.value(&at, want, got);
                    }
                }
                (Some(want), Some(got)) => self.value(&at, want, got),
                (want, got)
                    if ADDRESSES.contains(&key.as_str()) && want.is_none() != got.is_none() => {}
                (Some(_), None) if self.partial && at.contains(".Keys.") => {}
                (Some(_), None) if may_lack(parent, key) => {}
                // An IPFS node that was never seen up has no name yet.
                (Some(_), None) if key == "ipfs_peer_id" => {}
                (want, got) => self.note(
                    &at,
                    &want.map_or("nothing".to_owned(), Value::to_string),
                    &got.map_or("nothing".to_owned(), Value::to_string),
                ),
            }
        }
    }

    /// What peers say of a pin that some of them were chosen for: the same statuses, whoever has
    /// them. One peer alone may or may not be one of those.
    fn statuses(&mut self, at: &str, want: &Value, got: &Value) {
        let sorted = |map: &Value| {
            let peers = map.as_object().into_iter().flat_map(Map::values);
            let mut all: Vec<String> = peers.map(|peer| peer["status"].to_string()).collect();
            all.sort();
            all
        };
        let (want, got) = (sorted(want), sorted(got));
        if want.len() != 1 && want != got {
            self.note(
                &format!("{at}.peer_map"),
                &format!("{want:?}"),
                &format!("{got:?}"),
            );
        }
    }

    /// The same kind of value, and in objects the same keys.
    fn shape(&mut self, at: &str, want: &Value, got: &Value) {
        match (want, got) {
            (Value::Null, Value::Array(_) | Value::Object(_) | Value::String(_))
            | (Value::Array(_) | Value::Object(_) | Value::String(_), Value::Null)
            | (Value::Null, Value::Null)
            | (Value::Bool(_), Value::Bool(_))
            | (Value::Number(_), Value::Number(_))
            | (Value::String(_), Value::String(_)) => {}
            (Value::Array(want), Value::Array(got)) => {
                if let (Some(want), Some(got)) = (want.first(), got.first()) {
                    self.shape(&format!("{at}[]"), want, got);
                }
            }
            (Value::Object(want), Value::Object(got)) => {
                // Objects whose keys are names of things: any of them stands for all.
                if at.ends_with("_map") || at.contains("_links") || at.ends_with("metadata") {
                    if let (Some(want), Some(got)) = (want.values().next(), got.values().next()) {
                        self.shape(&format!("{at}.*"), want, got);
                    }
                    return;
                }
                for (key, want) in want {
                    match got.get(key) {
                        Some(got) => self.shape(&format!("{at}.{key}"), want, got),
                        None if at.is_empty() || at.contains("to_") => {}
                        None if may_lack(at, key) => {}
                        None => self.note(at, key, "missing"),
                    }
                }
            }
            _ => self.note(at, &want.to_string(), &got.to_string()),
        }
    }
}

/// The values of a body, one after the other; None where it is no JSON. An array is its elements.
fn values(body: &str) -> Option<Vec<Value>> {
    let items = serde_json::Deserializer::from_str(body).into_iter();
    let items: Vec<Value> = items.collect::<Result<_, _>>().ok()?;
    match items.as_slice() {
        [Value::Array(list)] => Some(list.clone()),
        _ => Some(items),
    }
}

/// The key that says what an object of a list is about.
fn subject(value: &Value) -> Option<&'static str> {
    ["cid", "requestid", "Cid", "id", "peer"]
        .into_iter()
        .find(|key| value[*key].is_string())
}

fn is_set(time: &Value) -> bool {
    time.as_str()
        .is_some_and(|t| !t.is_empty() && !t.starts_with("0001-"))
}

/// Whether the recorded value may be another pin's.
fn is_leak(want: &Value, got: &Value) -> bool {
    match got {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text.starts_with("0001-"),
        Value::Array(list) => list.is_empty(),
        Value::Number(n) => n.as_u64() == Some(0),
        Value::Object(got) => got.iter().all(|(key, value)| want.get(key) == Some(value)),
        Value::Bool(_) => false,
    }
}

/// Whether an object of the Pinning Service API may lack this key.
fn may_lack(at: &str, key: &str) -> bool {
    // Of what was asked for, what is empty is left out: the Go program has it from another pin.
    let leaked = at.ends_with(".pin") && LEAKED.contains(&key);
    // Ids are not CIDs here: nothing is to be warned of.
    let warning = at.ends_with(".info") && key.starts_with("warning");
    leaked || warning
}

fn own_words(text: &str) -> bool {
    OWN_WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(want: &str, got: &str) -> usize {
        Comparison::new(Depth::Values).bodies(want, got, true).len()
    }

    #[test]
    fn what_must_differ_is_let_pass_and_all_else_is_seen() {
        let time = r#"{"timestamp":"2026-11-22T13:51:40Z"}"#;
        assert_eq!(differ(time, r#"{"timestamp":"2027-01-01T00:00:00.5Z"}"#), 0);
        assert_eq!(differ(time, r#"{"timestamp":"0001-01-01T00:00:00Z"}"#), 1);
        assert_eq!(differ(r#"{"a":1}"#, r#"{"a":2}"#), 1);
        assert_eq!(differ(r#"{"a":1}"#, r#"{"a":1,"b":null}"#), 1);
        assert_eq!(
            differ(r#"{"cid":"x"}{"cid":"y"}"#, r#"{"cid":"y"}{"cid":"x"}"#),
            0
        );
        assert_eq!(differ(r#"{"cid":"x"}"#, r#"{"cid":"x"}{"cid":"y"}"#), 1);
    }

    #[test]
    fn a_request_may_lack_what_is_leaked_and_warnings_alone() {
        let list = |pin: &str, info: &str| {
            format!(r#"{{"count":1,"results":[{{"pin":{{{pin}}},"info":{{{info}}}}}]}}"#)
        };
        let (cid, source) = (r#""cid":"x""#, r#""source":"s""#);
        let recorded = list(
            &format!(r#"{cid},"name":"old""#),
            r#""source":"s","warning1":"w""#,
        );
        assert_eq!(differ(&recorded, &list(cid, source)), 0);
        assert_eq!(differ(&recorded, &list("", source)), 1);
        assert_eq!(differ(&recorded, &list(cid, "")), 1);
    }

    #[test]
    fn only_a_value_that_is_empty_here_may_be_a_leak() {
        let pin = |name: &str| format!(r#"{{"cid":"x","max_depth":-1,"name":"{name}"}}"#);
        assert_eq!(differ(&pin("old"), &pin("")), 0);
        assert_eq!(differ(&pin("old"), &pin("new")), 1);
        assert_eq!(differ(&pin(""), &pin("new")), 1);
    }
}
