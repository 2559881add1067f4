//! Sends recorded requests and judges the answers.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use ipfs_cluster_tests::{Answer, Cluster, Peer, http};

use crate::{
    bodies,
    compare::{Comparison, Depth},
    described::Description,
    differences::{self, Treatment},
    names::Names,
    recording::{Record, group},
    tls, tokens,
};

/// How long an answer that asks for a state may take to be as recorded: pins land, tables arrive.
const PATIENCE: Duration = Duration::from_secs(15);
/// Headers that are compared.
const HEADERS: &[&str] = &[
    "content-type",
    "vary",
    "trailer",
    "location",
    "www-authenticate",
    "cache-control",
    "x-chunked-output",
    "x-stream-output",
    "x-custom",
    "server",
    "allow",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// Which of a peer's servers a group is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Rest,
    Proxy,
    PinningService,
    /// The REST API within TLS.
    Tls,
}

impl Door {
    fn port(self, peer: &Peer) -> u16 {
        match self {
            Self::Rest | Self::Tls => peer.rest_port(),
            Self::Proxy => peer.proxy_port(),
            Self::PinningService => peer.pinning_port(),
        }
    }
}

/// Plays one group.
#[derive(Debug)]
pub(crate) struct Player {
    group: &'static str,
    door: Door,
    depth: Depth,
    records: Vec<Record>,
    names: Names,
    /// CIDs of answers that were not played.
    excused: BTreeSet<String>,
    /// Of the REST API; every answer must be as it says.
    description: Option<Description>,
    failures: Vec<String>,
}

impl Player {
    /// Of a group, for a cluster whose first peer is asked.
    pub(crate) async fn new(group_name: &'static str, door: Door, cluster: &Cluster) -> Self {
        let names = match door {
            // Its one record names no peer.
            Door::Tls => Names::default(),
            _ => Names::of(cluster).await,
        };
        let records = group(group_name);
        let excused = records
            .iter()
            .filter(|r| differences::of(group_name, &r.name) != Treatment::Equal)
            .flat_map(|r| cids(&r.answer.body))
            .collect();
        Self {
            group: group_name,
            door,
            depth: Depth::Values,
            records,
            names,
            excused,
            description: None,
            failures: Vec::new(),
        }
    }

    /// Also compares the answers with the description that the peer serves.
    pub(crate) async fn described(mut self, cluster: &Cluster, authorization: &str) -> Self {
        self.description = Some(Description::of(&cluster.peers[0], authorization).await);
        self
    }

    /// Compares shapes alone.
    pub(crate) fn shapes(mut self) -> Self {
        self.depth = Depth::Shapes;
        self
    }

    /// Plays the exchanges from where it is up to the one of this name, that one not included.
    pub(crate) async fn until(&mut self, name: &str, cluster: &Cluster) {
        assert!(self.records.iter().any(|r| r.name == name), "{name}");
        while self.records.first().is_some_and(|r| r.name != name) {
            self.next(cluster).await;
        }
    }

    /// Plays one exchange, which must be as recorded.
    pub(crate) async fn only(&mut self, name: &str, cluster: &Cluster) {
        self.records.retain(|r| r.name == name);
        self.next(cluster).await;
        assert!(self.failures.is_empty(), "{}", self.failures.join("\n"));
    }

    /// Sends one exchange for what it does, which must succeed.
    pub(crate) async fn without_judging(&mut self, name: &str, cluster: &Cluster) {
        let record = self.records.iter().find(|r| r.name == name).unwrap();
        let answer = self.send(record, cluster).await.unwrap();
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }

    /// Plays what is left and fails with all that differed.
    pub(crate) async fn finish(mut self, cluster: &Cluster) {
        while !self.records.is_empty() {
            self.next(cluster).await;
        }
        assert!(
            self.failures.is_empty(),
            "{} answers of {} differ:\n{}",
            self.failures.len(),
            self.group,
            self.failures.join("\n")
        );
    }

    async fn next(&mut self, cluster: &Cluster) {
        let record = self.records.remove(0);
        let treatment = differences::of(self.group, &record.name);
        if treatment == Treatment::NotCompared {
            return;
        }
        let begun = Instant::now();
        let asks = matches!(record.method.as_str(), "GET" | "HEAD" | "OPTIONS");
        let found = loop {
            let answer = self.send(&record, cluster).await;
            let found = match &answer {
                Ok(answer) => {
                    let mut found = self.judge(&record, answer, &treatment);
                    if let Some(description) = &mut self.description {
                        found.extend(description.judge(&record.method, &record.path, answer));
                    }
                    found
                }
                Err(e) => vec![format!("no answer: {e}")],
            };
            if found.is_empty() || !asks || begun.elapsed() > PATIENCE {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        if !found.is_empty() {
            let line = format!(
                "{} {}\n    {}",
                record.name,
                record.path,
                found.join("\n    ")
            );
            self.failures.push(line);
        }
    }

    /// Plays these exchanges alone, whatever else is done with them; `before` is told of each.
    pub(crate) async fn these(
        mut self,
        names: &[&str],
        cluster: &Cluster,
        before: impl Fn(&Record),
    ) {
        for name in names {
            let record = self.records.iter().find(|r| r.name == *name).cloned();
            let record = record.unwrap_or_else(|| panic!("{name} was recorded"));
            before(&record);
            let found = match self.send(&record, cluster).await {
                Ok(answer) => self.judge(&record, &answer, &Treatment::Equal),
                Err(e) => vec![format!("no answer: {e}")],
            };
            if !found.is_empty() {
                let line = format!("{name} {}\n    {}", record.path, found.join("\n    "));
                self.failures.push(line);
            }
        }
        self.records.clear();
        self.finish(cluster).await;
    }

    async fn send(&self, record: &Record, cluster: &Cluster) -> std::io::Result<Answer> {
        let body = bodies::bytes(&record.body);
        let own = ["connection", "host", "content-length"];
        let headers: String = record
            .headers
            .iter()
            .filter(|(name, _)| !own.contains(&name.to_lowercase().as_str()))
            .map(|(name, value)| format!("{name}: {}\r\n", tokens::fresh(value)))
            .collect();
        let port = self.door.port(&cluster.peers[0]);
        let path = self.names.ours(&record.path);
        let body = match String::from_utf8(body) {
            Ok(text) => self.names.ours(&text).into_bytes(),
            Err(e) => e.into_bytes(),
        };
        if self.door == Door::Tls && record.name != "plain-http-on-tls-port" {
            let stream = tls::connect(port, tls::Client::Usual).await?;
            return http::send_over(stream, &record.method, &path, &headers, &body).await;
        }
        http::send(port, &record.method, &path, &headers, &body).await
    }

    fn judge(&self, record: &Record, answer: &Answer, treatment: &Treatment) -> Vec<String> {
        if let Treatment::Differs { status, body } = treatment {
            let mut found = Vec::new();
            if answer.status != *status {
                found.push(format!("status: expected {status}, ours {}", answer.status));
            }
            if !answer.text().contains(*body) {
                found.push(format!("body: expected {body:?}, ours {:?}", answer.text()));
            }
            return found;
        }
        let recorded = &record.answer;
        if recorded.status != Some(answer.status) {
            let ours = format!("{} {:.300}", answer.status, answer.text());
            return vec![format!(
                "status: recorded {:?}, ours {ours}",
                recorded.status
            )];
        }
        let mut found = self.headers(record, answer);
        let mut comparison = Comparison::new(self.depth);
        comparison.excused = self.excused.clone();
        comparison.chosen = record.path.contains("user-allocations");
        comparison.partial = record.path.contains("pin/ls");
        let want = self.names.ours(&recorded.body);
        let is_list = record.method == "GET"
            || record.path.contains("recover")
            || record.path.contains("pin/ls");
        found.extend(comparison.bodies(&want, &answer.text(), is_list));
        found
    }

    fn headers(&self, record: &Record, answer: &Answer) -> Vec<String> {
        let mut found = Vec::new();
        let ours = |name: &str| -> Vec<String> {
            let all = answer.headers.iter().filter(|(n, _)| n == name);
            all.map(|(_, value)| value.clone()).collect()
        };
        for name in HEADERS {
            let want = record
                .answer
                .headers
                .get(*name)
                .cloned()
                .unwrap_or_default();
            // No body follows a 204, and the HTTP library leaves out what announces a trailer.
            let bodiless = *name == "trailer" && answer.status == 204;
            // Of a node that was never seen up nothing is known.
            let unknown = *name == "access-control-expose-headers" && self.group.ends_with("down");
            // What is streamed here and was collected there has one more.
            let streamed = *name == "trailer" && want.is_empty();
            if want != ours(name) && !bodiless && !streamed && !unknown {
                found.push(format!(
                    "header {name}: recorded {want:?}, ours {:?}",
                    ours(name)
                ));
            }
        }
        let want = record.answer.trailers.get("x-stream-error").cloned();
        let got = Some(ours("x-stream-error")).filter(|list| !list.is_empty());
        if want != got && self.depth == Depth::Values {
            found.push(format!("trailer: recorded {want:?}, ours {got:?}"));
        }
        found
    }
}

/// The CIDs that an answer names.
fn cids(body: &str) -> Vec<String> {
    let words = body.split(|c: char| !c.is_ascii_alphanumeric());
    let is_cid =
        |word: &&str| word.starts_with("Qm") && word.len() == 46 || word.starts_with("baf");
    words.filter(is_cid).map(str::to_owned).collect()
}
