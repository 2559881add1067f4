//! Objects as text.

use std::fmt::Write as _;

use console::Style;
use ipfs_cluster_ctl::client::Bandwidth;
use ipfs_cluster_protocol::{
    api::{
        add::AddedOutput,
        content::{ContentEntry, ContentKind},
        error::ErrorBody,
        gc::RepoGc,
        id::{Id, Version},
        metrics::{Alert, Metric},
        pin::Pin,
        status::{GlobalPinInfo, TrackerStatus},
        time::Time,
    },
    pin::PinMode,
};

use super::human;

/// Prints as text, with a newline at the end of each line.
pub(crate) trait Text {
    /// The text.
    fn text(&self) -> String;

    /// The same for a terminal that shows colours.
    fn coloured(&self) -> String {
        self.text()
    }
}

impl<T: Text> Text for Vec<T> {
    fn text(&self) -> String {
        self.iter().map(Text::text).collect()
    }

    fn coloured(&self) -> String {
        self.iter().map(Text::coloured).collect()
    }
}

/// A word as it is.
fn plain_status(_: TrackerStatus, word: &str) -> String {
    word.to_owned()
}

/// A word in the colour of a status.
fn coloured_status(status: TrackerStatus, word: &str) -> String {
    use TrackerStatus as S;
    let style = Style::new().force_styling(true);
    let style = match status {
        S::Pinned | S::Unpinned => style.green(),
        S::ClusterError | S::PinError | S::UnpinError | S::UnexpectedlyUnpinned => style.red(),
        S::Pinning | S::Unpinning | S::PinQueued | S::UnpinQueued => style.yellow(),
        _ => style.dim(),
    };
    style.apply_to(word).to_string()
}

/// A line.
impl Text for String {
    fn text(&self) -> String {
        format!("{self}\n")
    }
}

impl Text for ErrorBody {
    fn text(&self) -> String {
        format!(
            "An error occurred:\n  Code: {}\n  Message: {}\n",
            self.code, self.message
        )
    }
}

impl Text for Version {
    fn text(&self) -> String {
        format!("{}\n", self.version)
    }
}

impl Text for Id {
    fn text(&self) -> String {
        if !self.error.is_empty() {
            return format!("{} | ERROR: {}\n", self.id, self.error);
        }
        let others = self.cluster_peers.as_ref().map_or(0, Vec::len);
        let others = others.saturating_sub(1);
        let draining = match self.draining {
            Some(left) => format!(" | Leaving, {left} pins to go"),
            None => String::new(),
        };
        let mut out = format!(
            "{} | {} | Sees {others} other peers{draining}\n  > Addresses:\n",
            self.id, self.peername
        );
        addresses(&mut out, self.addresses.as_deref());
        match (&self.ipfs.id, self.ipfs.error.as_str()) {
            (Some(id), "") => {
                let _ = writeln!(out, "  > IPFS: {id}");
                addresses(&mut out, self.ipfs.addresses.as_deref());
            }
            (_, error) => {
                let _ = writeln!(out, "  > IPFS ERROR: {error}");
            }
        }
        out
    }
}

fn addresses(out: &mut String, list: Option<&[String]>) {
    let mut list: Vec<&String> = list.unwrap_or_default().iter().collect();
    list.sort();
    for address in list {
        let _ = writeln!(out, "    - {address}");
    }
}

impl Text for Pin {
    fn text(&self) -> String {
        let kind = self.pin_type.as_str().to_uppercase();
        let direct = if self.mode == PinMode::Direct {
            "-DIRECT"
        } else {
            ""
        };
        let (min, max) = (self.replication_factor_min, self.replication_factor_max);
        let places = if (min, max) == (-1, -1) {
            "Repl. Factor: -1 | Allocations: [everywhere]".to_owned()
        } else {
            let mut peers: Vec<String> = self.allocations.iter().map(ToString::to_string).collect();
            peers.sort();
            format!(
                "Repl. Factor: {min}--{max} | Allocations: [{}]",
                peers.join(" ")
            )
        };
        let depth = match self.max_depth {
            0 => "Direct".to_owned(),
            -1 => "Recursive".to_owned(),
            n => format!("Recursive-{n}"),
        };
        let metadata = if self.metadata.as_ref().is_none_or(|m| m.is_empty()) {
            "no"
        } else {
            "yes"
        };
        let expires = if self.expire_at.is_zero() {
            "∞".to_owned()
        } else {
            plain(self.expire_at)
        };
        let added = if self.timestamp.is_zero() {
            "unknown".to_owned()
        } else {
            plain(self.timestamp)
        };
        format!(
            "{} | {} | {kind}{direct} | {places} | {depth} | Metadata: {metadata} | Exp: {expires} | Added: {added}\n",
            self.cid, self.name
        )
    }
}

/// Without the letters of RFC 3339.
fn plain(at: Time) -> String {
    at.whole_seconds()
        .to_string()
        .replace('T', " ")
        .replace('Z', "")
}

fn from_now(at: Time) -> String {
    let ms = at.timestamp().map_or(0, |t| t.0);
    human::when(i128::from(ms) * 1_000_000, human::now_nanos())
}

impl Text for GlobalPinInfo {
    fn text(&self) -> String {
        status_lines(self, plain_status)
    }

    fn coloured(&self) -> String {
        status_lines(self, coloured_status)
    }
}

fn status_lines(info: &GlobalPinInfo, paint: fn(TrackerStatus, &str) -> String) -> String {
    let mut out = info.cid.to_string();
    if !info.name.is_empty() {
        let _ = write!(out, " | {}", info.name);
    }
    out.push_str(":\n");
    for (peer, at) in &info.peer_map {
        let name = if at.peername.is_empty() {
            peer.to_string()
        } else {
            at.peername.clone()
        };
        let status = paint(at.status, &at.status.as_str().to_uppercase());
        let error = if at.error.is_empty() {
            String::new()
        } else {
            format!(": {}", at.error)
        };
        let _ = writeln!(
            out,
            "    > {name:<20} : {status}{error} | {} | Attempts: {} | Priority: {}",
            at.timestamp, at.attempt_count, at.priority_pin
        );
    }
    out
}

impl Text for AddedOutput {
    fn text(&self) -> String {
        let cid = self.cid.map_or_else(String::new, |c| c.to_string());
        format!("added {cid} {}\n", self.name)
    }
}

impl Text for ContentEntry {
    /// As `ipfs ls` has it: CID, size, name; folders with a slash and without a size.
    fn text(&self) -> String {
        let cid = self.cid.map_or_else(String::new, |c| c.to_string());
        match (self.kind, &self.target) {
            (ContentKind::Directory, _) => format!("{cid} - {}/\n", self.name),
            (_, Some(target)) => format!("{cid} {} {} -> {target}\n", self.size, self.name),
            (_, None) => format!("{cid} {} {}\n", self.size, self.name),
        }
    }
}

impl Text for Metric {
    fn text(&self) -> String {
        let value = match u64::try_from(self.weight) {
            Ok(weight) if self.name == "freespace" && weight > 0 => human::bytes(weight),
            _ => self.value.clone(),
        };
        let expires = human::when(i128::from(self.expire), human::now_nanos());
        format!(
            "{} | {}: {value} | Expires in: {expires}\n",
            self.peer, self.name
        )
    }
}

impl Text for Alert {
    fn text(&self) -> String {
        let expired = human::when(i128::from(self.metric.expire), human::now_nanos());
        format!(
            "{}: {}. Expired at: {expired}. Triggered at: {}\n",
            self.metric.peer,
            self.metric.name,
            from_now(self.triggered_at)
        )
    }
}

impl Text for RepoGc {
    fn text(&self) -> String {
        let mut out = String::new();
        for (peer, result) in &self.peer_map {
            let name = if result.peername.is_empty() {
                peer.to_string()
            } else {
                result.peername.clone()
            };
            let _ = match result.error.as_str() {
                "" => writeln!(out, "{name:<15}"),
                error => writeln!(out, "{name:<15} | ERROR: {error}"),
            };
            out.push_str("  > CIDs:\n");
            for key in &result.keys {
                let _ = match (&key.key, key.error.as_str()) {
                    (Some(cid), "") => writeln!(out, "    - {cid}"),
                    (_, error) => writeln!(out, "    - ERROR: {error}"),
                };
            }
        }
        out
    }
}

impl Text for std::collections::BTreeMap<String, Bandwidth> {
    fn text(&self) -> String {
        let mut out = String::new();
        for (protocol, b) in self {
            let size = |n: i64| human::bytes(u64::try_from(n).unwrap_or(0));
            let _ = writeln!(
                out,
                "{protocol:>25}: In: {:>7}. Out: {:>7}. RateIn: {:.2}B/s. RateOut: {:.2}B/s",
                size(b.total_in),
                size(b.total_out),
                b.rate_in,
                b.rate_out
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    const P1: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";
    const CID: &str = "QmazuPJPW7GJSLGnJgVTNFUyEXRVng9tk5SF9AHJdyXWmi";

    #[test]
    fn a_peer_is_printed_with_its_addresses_in_order() {
        let id: Id = read(&format!(
            r#"{{"id":"{P1}","addresses":["/b","/a"],"cluster_peers":["{P1}"],"cluster_peers_addresses":null,"version":"1.1.6","error":"","ipfs":{{"id":"{P1}","addresses":["/c"],"error":""}},"peername":"peer1"}}"#
        ));
        assert_eq!(
            id.text(),
            format!(
                "{P1} | peer1 | Sees 0 other peers\n  > Addresses:\n    - /a\n    - /b\n  > IPFS: {P1}\n    - /c\n"
            )
        );
    }

    #[test]
    fn a_peer_that_cannot_be_asked_is_one_line() {
        let id = Id::unreachable(P1.parse().unwrap(), "failed to dial".to_owned());
        assert_eq!(id.text(), format!("{P1} | ERROR: failed to dial\n"));
    }

    #[test]
    fn a_pin_is_one_line() {
        let mut pin: Pin = read(&format!(
            r#"{{"cid":"{CID}","name":"n","replication_factor_min":1,"replication_factor_max":2,"allocations":["{P1}"],"timestamp":"2026-11-22T13:57:18Z","metadata":{{"a":"b"}}}}"#
        ));
        assert_eq!(
            pin.text(),
            format!(
                "{CID} | n | PIN | Repl. Factor: 1--2 | Allocations: [{P1}] | Recursive | Metadata: yes | Exp: ∞ | Added: 2026-11-22 13:57:18\n"
            )
        );
        pin.replication_factor_min = -1;
        pin.replication_factor_max = -1;
        assert!(
            pin.text()
                .contains("Repl. Factor: -1 | Allocations: [everywhere]")
        );
    }

    #[test]
    fn a_status_has_one_line_per_peer() {
        let info: GlobalPinInfo = read(&format!(
            r#"{{"cid":"{CID}","name":"","peer_map":{{"{P1}":{{"peername":"peer1","status":"pin_error","timestamp":"2026-11-22T13:57:16Z","error":"no","attempt_count":3,"priority_pin":false}}}}}}"#
        ));
        assert_eq!(
            info.text(),
            format!(
                "{CID}:\n    > peer1                : PIN_ERROR: no | 2026-11-22T13:57:16Z | Attempts: 3 | Priority: false\n"
            )
        );
    }

    #[test]
    fn an_expiry_is_a_date_and_an_everywhere_pin_says_so() {
        let pin: Pin = read(&format!(
            r#"{{"cid":"{CID}","name":"","replication_factor_min":-1,"replication_factor_max":-1,"mode":"direct","max_depth":0,"expire_at":"2027-01-02T03:04:05Z"}}"#
        ));
        assert_eq!(
            pin.text(),
            format!(
                "{CID} |  | PIN-DIRECT | Repl. Factor: -1 | Allocations: [everywhere] | Direct | Metadata: no | Exp: 2027-01-02 03:04:05 | Added: unknown\n"
            )
        );
    }

    #[test]
    fn traffic_is_a_table() {
        let traffic = Bandwidth {
            total_in: 1_250_000,
            total_out: 12,
            rate_in: 1.5,
            rate_out: 0.0,
        };
        let all = std::collections::BTreeMap::from([("/ipfs/id/1.0.0".to_owned(), traffic)]);
        assert_eq!(
            all.text(),
            "           /ipfs/id/1.0.0: In:  1.3 MB. Out:    12 B. RateIn: 1.50B/s. RateOut: 0.00B/s\n"
        );
    }

    #[test]
    fn metrics_and_alerts_tell_times_from_now() {
        let now = i64::try_from(human::now_nanos()).unwrap();
        let metric = format!(
            r#""name":"freespace","peer":"{P1}","value":"10000000000","expire":{},"valid":true,"weight":10000000000,"partitionable":false,"received_at":0"#,
            now + 26_900_000_000
        );
        let metric: Metric = read(&format!("{{{metric}}}"));
        assert_eq!(
            metric.text(),
            format!("{P1} | freespace: 10 GB | Expires in: 26 seconds from now\n")
        );
    }

    #[test]
    fn a_collection_lists_what_it_removed() {
        let gc: RepoGc = read(&format!(
            r#"{{"peer_map":{{"{P1}":{{"peer":"{P1}","peername":"peer1","keys":[{{"key":"{CID}"}},{{"key":null,"error":"no"}}],"error":""}}}}}}"#
        ));
        assert_eq!(
            gc.text(),
            format!("peer1          \n  > CIDs:\n    - {CID}\n    - ERROR: no\n")
        );
    }

    #[test]
    fn colours_change_nothing_but_the_look() {
        let info: GlobalPinInfo = read(&format!(
            r#"{{"cid":"{CID}","name":"x","peer_map":{{"{P1}":{{"peername":"p","status":"pinned","timestamp":"2026-11-22T13:57:16Z"}}}}}}"#
        ));
        let coloured = info.coloured();
        assert!(
            coloured.contains("\u{1b}[32mPINNED\u{1b}[0m"),
            "{coloured:?}"
        );
        assert_eq!(console::strip_ansi_codes(&coloured), info.text());
    }
}
