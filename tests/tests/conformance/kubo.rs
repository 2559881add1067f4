//! A node that answers as Kubo was recorded to answer: what the proxy passes through must arrive at it
//! as it was sent, and its answer at the client as it was given.

use std::sync::Arc;

use ipfs_cluster_tests::{
    Cluster, Setup,
    server::{Request, Server},
};
use parking_lot::Mutex;

use crate::{
    bodies,
    differences::ANSWERED_BY_KUBO,
    player::{Door, Player},
    recording::{Record, Recorded, group},
};

/// The exchange that is being played, and the requests that came for it.
#[derive(Debug, Default)]
struct Stage {
    playing: Option<Record>,
    came: Vec<Request>,
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// The recorded answer as bytes. Its length is told at its beginning, so that it need not be chunked.
fn bytes(answer: &Recorded) -> Vec<u8> {
    let status = answer.status.unwrap();
    let mut head = format!("HTTP/1.1 {status} As Recorded\r\n");
    // What announces a trailer needs chunks; what the proxy says of itself is its own.
    let left_out = ["trailer", "content-length", "server"];
    for (name, values) in &answer.headers {
        for value in values {
            if !left_out.contains(&name.as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
    }
    let server = answer.headers.get("server").and_then(|v| v.first());
    if let Some(server) = server {
        let kubo = if server.starts_with("kubo") {
            server
        } else {
            "kubo/0.44.0-dev"
        };
        head.push_str(&format!("server: {kubo}\r\n"));
    }
    if answer.headers.contains_key("trailer") {
        head.push_str("trailer: X-Stream-Error\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = match answer.body.len() {
            0 => String::new(),
            size => format!("{size:x}\r\n{}\r\n", answer.body),
        };
        return format!("{head}{chunk}0\r\n\r\n").into_bytes();
    }
    if status == 204 {
        return format!("{head}\r\n").into_bytes();
    }
    let length = answer.body.len();
    format!("{head}content-length: {length}\r\n\r\n{}", answer.body).into_bytes()
}

/// Answers the exchange that is played, and what peer and proxy ask for their own sake.
fn answer(stage: &Mutex<Stage>, all: &[Record], request: Request) -> Vec<u8> {
    let path = without_query(&request.path).to_owned();
    let mut stage = stage.lock();
    if let Some(record) = stage.playing.clone()
        && without_query(&record.path) == path
        // The proxy collects garbage with POST, also for a client that says GET.
        && (record.method == request.method || path.ends_with("repo/gc"))
    {
        stage.came.push(request);
        return bytes(&record.answer);
    }
    let own = match (request.method.as_str(), path.as_str()) {
        ("OPTIONS", _) => "options-pin-ls",
        (_, "/api/v0/version") => "version-passthrough",
        (_, "/api/v0/id") => "id-passthrough",
        (_, "/api/v0/swarm/peers") => "swarm-peers",
        _ => "unknown-passthrough",
    };
    let mut record = all.iter().find(|r| r.name == own).unwrap().clone();
    if request.header("origin").is_empty() {
        // Nobody who is from nowhere is allowed by name.
        let kept = |name: &str| !name.starts_with("access-control-allow");
        record.answer.headers.retain(|name, _| kept(name));
    }
    bytes(&record.answer)
}

#[test]
fn what_kubo_answers_passes_unchanged() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let stage = Arc::new(Mutex::new(Stage::default()));
        let (all, seen) = (group("proxy-plain"), stage.clone());
        let node = Server::start(move |request| answer(&seen, &all, request)).await;
        let address = format!("/ip4/127.0.0.1/tcp/{}", node.port());
        let cluster = Cluster::start(Setup::of(1).with_node(0, &address)).await;
        let player = Player::new("proxy-plain", Door::Proxy, &cluster).await;
        let played = player.these(ANSWERED_BY_KUBO, &cluster, |record| {
            stage.lock().playing = Some(record.clone());
        });
        played.await;
        let stage = stage.lock();
        for record in group("proxy-plain") {
            if !ANSWERED_BY_KUBO.contains(&record.name.as_str()) {
                continue;
            }
            let sent = bodies::bytes(&record.body);
            let path = without_query(&record.path);
            let arrived = stage.came.iter().any(|r| {
                without_query(&r.path) == path && (r.body == sent || path.ends_with("gc"))
            });
            assert!(arrived, "{} did not arrive as it was sent", record.name);
        }
    });
}
