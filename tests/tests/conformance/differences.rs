//! What differs from the recordings on purpose, and what is not compared, each with its reason.
//!
//! A difference is compared too: with what this program answers instead.

/// What is done with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// The answer must be the recorded one.
    Equal,
    /// The answer must have this status and this text in its body.
    Differs { status: u16, body: &'static str },
    /// It is not played.
    NotCompared,
}

/// Group, exchange, our status, a part of our body, why.
type Difference = (&'static str, &'static str, u16, &'static str, &'static str);

const STOPS: &str = "after a 400 the Go program does it all the same and appends a second object";
const SPEC: &str = "as the specification of the Pinning Service API has it";
const MOVES: &str = "who a user wants first gets the pin, also when it has copies enough";
const SEVERAL: &str = "all arguments count, as Kubo has it";
const TABLES: &str = "what a peer says of itself comes from its table, not from its IPFS node";
const REPAIRED: &str =
    "copies that are lost are made again, as many as there were, and a removed peer holds none";
const OBJECTS: &str =
    "the other keys of Kubo's answer are there too, without which its JavaScript client fails";
const DEAD: &str =
    "a peer whose metrics have lapsed is given nothing, and lapsed metrics are not shown";
const RETRIED: &str = "what failed is tried again within seconds, and is shown being tried: no status stands still to be compared";
const KINDS: &str = "`type` counts, as Kubo has it";

#[rustfmt::skip]
const DIFFERENCES: &[Difference] = &[
    ("rest-plain", "root", 404, "not found", "the Go program redirects / to itself for ever"),
    ("rest-plain", "add-noparts", 400, "no parts", "the Go program breaks the connection"),
    ("rest-plain", "add-local", 200, "\"allocations\":[\"", "the line names the peer that got the blocks, not those that will fetch them"),
    ("rest-plain", "add-truncated", 200, "", "a file that was cut off is not told as added"),
    ("rest-plain", "status-repl", 200, "\"name\":\"foo\"", "what was accepted here is known here: the Go program has not applied it yet"),
    ("rest-plain", "pin-bad-replmin", 400, "parameter replication-min invalid\"}\n", STOPS),
    ("rest-plain", "pin-bad-replmax", 400, "parameter replication-max invalid\"}\n", STOPS),
    ("rest-plain", "pin-repl-toomany", 500, "not enough peers to allocate CID.", "the pin has copies, which the 400 before has made the Go program forget"),
    ("rest-plain", "pin-useralloc-bad", 200, "\"replication_factor_min\":1", MOVES),
    ("rest-plain", "pin-useralloc-notmember", 200, "\"replication_factor_min\":1", MOVES),
    ("rest-plain", "pin-expire-at-bad", 400, "expire-at cannot be parsed", STOPS),
    ("rest-plain", "pin-expire-in-short", 400, "expire-in duration too short\"}\n", STOPS),
    ("rest-plain", "pin-expire-in-bad", 400, "expire-in cannot be parsed", STOPS),
    ("rest-plain", "pin-shardsize-bad", 400, "parameter shard_size is invalid\"}\n", STOPS),
    ("rest-plain", "pin-origins-nopeer", 400, "multiaddress does not contain peer ID: protocol not found in multiaddr\"}\n", STOPS),
    ("rest-plain", "pin-origins-bad", 400, "must begin with /\"}\n", STOPS),
    ("rest-plain", "pin-update-bad", 400, "error decoding update option parameter", STOPS),
    ("rest-plain", "pinpath-badopt", 400, "parameter replication-min invalid\"}\n", STOPS),
    ("rest-plain", "pin-mode-direct", 200, "\"max_depth\":0", "the Go program says direct and makes it recursive"),
    ("rest-plain", "alloc-direct", 200, "\"mode\":\"direct\"", "the same"),
    ("rest-ipfs-down", "ipfsdown-status", 200, "\"status\":\"pin_", TABLES),
    ("rest-ipfs-down", "ipfsdown-status-all-local", 200, "\"status\":\"pin_", TABLES),
    ("rest-ipfs-down", "ipfsdown-status-all", 200, "\"status\":\"pinned\"", TABLES),
    ("rest-ipfs-down", "ipfsdown-gc", 200, "connection refused", "the embedded IPFS nodes of the others have garbage of their own"),
    ("rest-plain", "bandwidth", 200, "\"total_in\":", "the protocols of the swarm are others"),
    ("rest-peer-down", "peerdown-status-filter", 200, "\"status\":\"cluster_error\"", "a filter finds what it names"),
    ("rest-peer-down", "peerdown-pin", 500, "not enough peers to allocate CID.", DEAD),
    ("rest-peer-down", "peerdown-alloc-no-repin", 200, "\"replication_factor_min\":2", DEAD),
    ("rest-peer-down", "peerdown-alerts", 200, "\"triggered_at\":", "every metric of the peer has lapsed, not its ping alone"),
    ("rest-repair", "repin2-alerts", 200, "\"triggered_at\":", "every metric of the peer has lapsed, not its ping alone"),
    ("rest-peer-down", "peerdown-metric-freespace", 200, "\"name\":\"freespace\"", DEAD),
    ("rest-peer-down", "peers-after-add-unreachable", 200, "\"cluster_peers\":", "a peer that cannot be reached is not made a member"),
    ("rest-peer-down", "peers-after-rm2", 200, "\"draining\":", "a peer that holds a copy that nobody else can take stays until one can"),
    ("rest-peer-down", "expire-in-2s", 200, "\"name\":\"exp2\"", "the recorded cluster had two copies for its default here"),
    ("rest-peer-down", "peer-add-unreachable", 500, "start it with", "a peer joins by itself, and is never a member before it has"),
    ("rest-repair", "repin2-alloc-1-2", 200, "\"replication_factor_max\":2", REPAIRED),
    ("rest-repair", "repin2-alloc-after-rm-1-2", 200, "\"replication_factor_max\":2", REPAIRED),
    ("rest-repair", "repin2-alloc-after-rm-3-3", 200, "\"replication_factor_max\":3", REPAIRED),
    ("rest-repair", "repin2-status-3-3-after-rm", 200, "\"status\":\"pinned\"", REPAIRED),
    ("rest-no-quorum", "noquorum-allocations", 200, "\"cid\":\"QmXBME2NkrUTUGMvDBMkzrvRNGDHBJx31EeAari4jMbZLj\",\"type\":\"pin\",\"allocations\":[\"", REPAIRED),
    ("rest-no-quorum", "noquorum-peeradd", 500, "start it with", "a peer joins by itself, and is never a member before it has"),
    ("pinsvc-plain", "list-limit-bad", 400, "error parsing 'limit' query param: x", SPEC),
    ("pinsvc-plain", "list-status-bad", 400, "error decoding 'status' query param: no valid filter", SPEC),
    ("pinsvc-plain", "list-name-toolong", 400, "longer than 255 chars", SPEC),
    ("pinsvc-plain", "list-before-bad", 400, "error decoding 'before' query param: x", SPEC),
    ("pinsvc-plain", "list-meta-bad", 400, "error unmarshalling 'meta' query param: x", SPEC),
    ("pinsvc-plain", "list-cid-bad", 400, "error decoding cid abc: invalid cid", SPEC),
    ("pinsvc-plain", "list-cid-and-status", 200, "\"count\":0", "all filters count, also beside cid"),
    ("pinsvc-plain", "add", 202, "\"status\":\"queued\"", SPEC),
    ("pinsvc-plain", "add-min", 202, "\"status\":\"queued\"", SPEC),
    ("pinsvc-plain", "add-no-ct", 202, "\"status\":\"queued\"", SPEC),
    ("pinsvc-plain", "add-unknownfield", 202, "\"status\":\"queued\"", SPEC),
    ("pinsvc-plain", "add-nocid", 400, "error decoding request body: cid is missing", "the Go program answers 200 and nothing"),
    ("pinsvc-plain", "add-nullcid", 400, "error decoding request body: cid is missing", "the same"),
    ("pinsvc-plain", "replace", 202, "\"name\":\"replaced\"", SPEC),
    ("pinsvc-plain", "replace-bad", 400, "error decoding requestID", STOPS),
    ("pinsvc-plain", "replace-same", 202, "\"status\":\"queued\"", "the Go program unpins what it has just pinned"),
    ("pinsvc-plain", "delete-D", 202, "", "what was replaced by itself is still there"),
    ("proxy-plain", "pin-ls-type-direct", 200, "{\"Keys\":{}}", KINDS),
    ("proxy-plain", "pin-add-multi", 200, "\",\"Qm", SEVERAL),
    ("proxy-plain", "repo-stat", 200, "\"StorageMax\":30000000000", OBJECTS),
    ("proxy-plain", "repo-stat-human", 200, "\"StorageMax\":30000000000", OBJECTS),
    ("proxy-ipfs-down", "ipfsdown-repo-stat", 200, "\"StorageMax\":20000000000", OBJECTS),
    ("proxy-plain", "add-onlyhash", 500, "only-hash is not supported when adding to cluster\",\"Code\":0,\"Type\":\"error\"}", "the Go program adds all the same"),
];

/// Group, exchanges, why.
type Skipped = (&'static str, &'static [&'static str], &'static str);

#[rustfmt::skip]
const SKIPPED: &[Skipped] = &[
    (
        "rest-plain",
        &[
            "status-unexpectedly-unpinned", "status-filter-unexpectedly", "status-filter-error-excludes-unexpected",
            "recover-unexpectedly", "status-recovered",
        ],
        "content was unpinned behind the cluster's back, which the embedded IPFS node lets nobody do; a test of the tracker tells it",
    ),
    (
        "rest-plain",
        &[
            "status-pin-error", "status-all-filter-pin_error", "status-all-filter-error-local", "recover-pin-error",
            "recover-all-errors", "recover-all-local", "status-after-recover",
        ],
        RETRIED,
    ),
    (
        "rest-content",
        &["add-abspath"],
        "adding without copying is not possible",
    ),
    (
        "proxy-plain",
        &["dag-put-pin-bad"],
        "what Kubo answers to the proxy itself was not recorded, as the Go program hides it; a test of the proxy tells that it is passed on",
    ),
    (
        "rest-peer-down",
        &[
            "repin-add", "repin-add#2", "repin-add-min1", "repin-alloc-before", "default-repl-2", "repin-alerts", "repin-alloc-after",
            "repin-alloc-min1-after", "repin-status-after", "peerdown-gc",
        ],
        "these were sent after a restart with other settings; the group rest-repair has them from a fresh cluster",
    ),
    (
        "rest-peer-down",
        &["peer-rm-self-last"],
        "the peer removed before it stays until others hold its pins, which nobody can here: a test of the cluster tells of the last peer",
    ),
    (
        "rest-crdt",
        &["crdt-peer-rm", "crdt-peer-add"],
        "there is no CRDT here",
    ),
    ("proxy-plain", &["add-nocopy"], "adding without copying is not possible"),
];

/// Exchanges of the proxy that are what the IPFS node behind it answers: played to a peer whose node
/// answers as Kubo did, see [`crate::kubo`].
pub(crate) const ANSWERED_BY_KUBO: &[&str] = &[
    "version-passthrough",
    "version-passthrough-get",
    "id-passthrough",
    "unknown-passthrough",
    "root",
    "gateway-path",
    "pin-verify-passthrough",
    "head-pin-ls",
    "options-pin-ls",
    "delete-pin-ls",
    "origin-bad-version",
    "block-put",
    "dag-put",
    "dag-put-pin",
    "dag-import-passthrough",
    "cat-passthrough",
    "files-ls",
    "pin-ls-trailing",
    "pin-add-two-segs",
    "swarm-peers",
    "pin-remote-ls",
    "repo-gc",
    "repo-gc-streamerrors",
    "repo-gc-get",
];

/// What is done with an exchange of a group.
pub(crate) fn of(group: &str, name: &str) -> Treatment {
    let elsewhere = group == "proxy-plain" && ANSWERED_BY_KUBO.contains(&name);
    let mut skipped = SKIPPED.iter();
    if elsewhere || skipped.any(|(g, names, _)| *g == group && names.contains(&name)) {
        return Treatment::NotCompared;
    }
    let found = DIFFERENCES
        .iter()
        .find(|(g, n, ..)| *g == group && *n == name);
    found.map_or(Treatment::Equal, |(_, _, status, body, _)| {
        Treatment::Differs {
            status: *status,
            body,
        }
    })
}

#[test]
fn what_is_listed_was_recorded() {
    let recorded = |group: &str, name: &str| {
        let found = crate::recording::group(group)
            .iter()
            .any(|r| r.name == name);
        assert!(found, "{group} has no {name}");
    };
    for (group, name, ..) in DIFFERENCES {
        recorded(group, name);
    }
    for name in ANSWERED_BY_KUBO {
        recorded("proxy-plain", name);
    }
    for (group, names, _) in SKIPPED {
        names.iter().for_each(|name| recorded(group, name));
    }
}
