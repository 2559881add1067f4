//! What the user of `dev` sees.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    path::Path,
};

use ipfs_cluster_node::env::Env;
use serde_json::{Value, json};

use crate::cli::{addresses::Addresses, fetch};

/// Bytes of a peer's metrics that are read at most.
const METRICS_BYTES: usize = 4 * 1024 * 1024;

/// One object with everything a script needs.
pub(super) fn json(peers: &[Addresses], processes: bool, folder: &Path) {
    let peers: Vec<Value> = peers
        .iter()
        .map(|p| {
            json!({
                "name": p.peername,
                "id": p.id,
                "pid": p.pid,
                "rest": p.rest,
                "proxy": p.proxy,
                "gateway": p.gateway,
                "ipfs_rpc": p.ipfs_rpc,
                "libp2p": p.swarm,
                "folder": folder.join(&p.peername),
            })
        })
        .collect();
    let all = json!({"processes": processes, "folder": folder, "peers": peers});
    print(&format!("{all}\n"));
}

/// To stdout. Whoever read it may have gone: the cluster runs on.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Addresses, and what to try.
pub(super) fn welcome(peers: &[Addresses], processes: bool, folder: &Path) {
    let mut text = format!(
        "A cluster of {} peers is ready. Ctrl-c stops it.\n\n",
        peers.len()
    );
    let first = |list: &[String]| list.first().cloned().unwrap_or_else(|| "off".to_owned());
    for p in peers {
        let process = if processes {
            format!(" (process {})", p.pid)
        } else {
            String::new()
        };
        text += &format!(
            "{}{process}\n  REST     {}\n  proxy    {}\n  libp2p   {}\n  gateway  {}\n  IPFS RPC {}\n",
            p.peername,
            first(&p.rest),
            first(&p.proxy),
            first(&p.swarm),
            first(&p.gateway),
            first(&p.ipfs_rpc)
        );
    }
    let host = peers.first().map(|p| first(&p.rest)).unwrap_or_default();
    let last = match peers.last() {
        Some(last) if processes => format!("kill -9 {}", last.pid),
        _ => format!("ipfs-cluster-ctl --host {host} peers ls"),
    };
    text += &format!(
        "\nFolder: {}\n\
         The secret for libp2p addresses is in service.json of each peer's folder.\n\n\
         Try:\n  \
         ipfs-cluster-ctl --host {host} add --replication 2 FILE\n  \
         ipfs-cluster-ctl --host {host} status\n  \
         {last}\n\n",
        folder.display()
    );
    print(&text);
}

/// How many peers answer, who leads, and how far the pins have come.
pub(super) async fn state(env: &Env, peers: &[Addresses]) -> String {
    let mut up = 0;
    let mut leader = "nobody";
    let mut pins = 0;
    let mut work: BTreeMap<&str, u64> = BTreeMap::new();
    for peer in peers {
        let Some(metrics) = metrics(env, peer).await else {
            continue;
        };
        up += 1;
        if metrics.contains("role=\"leader\"} 1") {
            leader = &peer.peername;
        }
        pins = pins.max(gauge(&metrics, "ipfscluster_pins"));
        for (name, word) in WORK {
            *work.entry(word).or_default() += gauge(&metrics, name);
        }
    }
    let work: Vec<String> = work.iter().map(|(word, n)| format!("{n} {word}")).collect();
    format!(
        "{up}/{} peers up, {leader} leads | {pins} pins: {}",
        peers.len(),
        work.join(", ")
    )
}

/// Gauges of each peer that are added up, and what they are called here.
const WORK: [(&str, &str); 4] = [
    ("ipfscluster_pins_ipfs_pins", "copies"),
    ("ipfscluster_pins_pin_queued", "queued"),
    ("ipfscluster_pins_pinning", "pinning"),
    ("ipfscluster_pins_pin_error", "failed"),
];

/// What a peer measures; none if it does not answer.
async fn metrics(env: &Env, peer: &Addresses) -> Option<String> {
    let mut answer = fetch::get(env, peer.rest.first()?, "/metrics", None)
        .await
        .ok()?;
    let mut body = Vec::new();
    while body.len() < METRICS_BYTES
        && let Some(piece) = answer.piece().await.ok()?
    {
        body.extend_from_slice(&piece);
    }
    String::from_utf8(body).ok()
}

/// The value of a gauge without labels.
fn gauge(metrics: &str, name: &str) -> u64 {
    let mut values = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// The last line of the output, written over while it changes.
#[derive(Default)]
pub(super) struct Line {
    shown: String,
}

impl Line {
    /// Shows another state.
    pub(super) fn show(&mut self, text: &str) {
        if self.shown == text {
            return;
        }
        if io::stdout().is_terminal() {
            print(&format!("\r\x1b[K{text}"));
        } else {
            print(&format!("{text}\n"));
        }
        text.clone_into(&mut self.shown);
    }

    /// Says something that stays.
    pub(super) fn say(&mut self, text: &str) {
        let clear = if io::stdout().is_terminal() {
            "\r\x1b[K"
        } else {
            ""
        };
        print(&format!("{clear}{text}\n"));
        self.shown.clear();
    }
}
