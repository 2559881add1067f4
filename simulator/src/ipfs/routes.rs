//! The commands of Kubo's RPC that the cluster uses, with Kubo's texts.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use ipfs_cluster_node::ipfs::{IpfsError, IpfsNode as _, embedded::Embedded};
use ipfs_cluster_protocol::{
    api::query::Query,
    content::hash::HashFunction,
    id::{Cid, WideCid},
    pin::PinMode,
};
use serde_json::{Value, json};

use super::{
    answer::{self, Body},
    pinning,
};
use crate::scenario::IpfsTrouble;

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 20;
/// What a node without room says.
pub(super) const FULL: &str = "write /blocks: no space left on device";

/// Does what was asked.
pub(super) async fn respond(
    request: Request<Incoming>,
    node: Arc<Embedded>,
    trouble: IpfsTrouble,
) -> Response<Body> {
    if request.method() != Method::POST {
        let text = "405 - Method Not Allowed";
        return answer::plain(StatusCode::METHOD_NOT_ALLOWED, text);
    }
    let uri = request.uri().clone();
    let query = Query::parse(uri.query().unwrap_or_default());
    let command = uri.path().strip_prefix("/api/v0/").unwrap_or_default();
    let room = trouble != IpfsTrouble::Full;
    match command {
        "version" => answer::object(&json!({
            "Version": "0.44.0-dev", "Commit": "", "Repo": "18",
            "System": "amd64/linux", "Golang": "go1.26.8",
        })),
        "id" => id(&node),
        "repo/stat" => repo_stat(&node, room).await,
        "swarm/peers" => swarm_peers(&node).await,
        "swarm/connect" => swarm_connect(&node, &query).await,
        "resolve" => resolve(&node, &query).await,
        "block/get" => block_get(&node, &query).await,
        "block/put" if room => block_put(&node, &query, request).await,
        "block/put" => answer::error(FULL),
        "pin/add" => pinning::add(node, &query, room),
        "pin/rm" => pinning::rm(&node, &query).await,
        "pin/ls" => pinning::ls(&node, &query).await,
        "pin/update" => pinning::update(&node, &query).await,
        _ => answer::plain(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// The CID of an `arg`, as a CID or a path.
pub(super) fn cid(text: &str) -> Result<Cid, Box<Response<Body>>> {
    let root = text.strip_prefix("/ipfs/").unwrap_or(text);
    root.parse().map_err(|_| {
        let why = "path does not have enough components";
        Box::new(answer::error(&format!("invalid path {text:?}: {why}")))
    })
}

fn told<T>(result: Result<T, IpfsError>, shown: impl FnOnce(T) -> Value) -> Response<Body> {
    match result {
        Ok(value) => answer::object(&shown(value)),
        Err(error) => answer::error(&error.to_string()),
    }
}

fn id(node: &Embedded) -> Response<Body> {
    answer::object(&json!({
        "ID": node.peer_id().to_string(),
        "PublicKey": "",
        "Addresses": node.addresses(),
        "AgentVersion": "kubo/0.44.0-dev",
        "Protocols": ["/ipfs/bitswap/1.2.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"],
    }))
}

async fn repo_stat(node: &Embedded, room: bool) -> Response<Body> {
    told(node.repo_stat().await, |stat| {
        let max = if room { 10_000_000_000 } else { stat.repo_size };
        json!({
            "RepoSize": stat.repo_size, "StorageMax": max,
            "NumObjects": 0, "RepoPath": "", "Version": "",
        })
    })
}

async fn swarm_peers(node: &Embedded) -> Response<Body> {
    told(node.swarm_peers().await, |peers| {
        let shown =
            |peer: ipfs_cluster_protocol::id::PeerId| json!({"Addr": "", "Peer": peer.to_string()});
        let peers: Vec<Value> = peers.into_iter().map(shown).collect();
        let peers = if peers.is_empty() {
            Value::Null
        } else {
            peers.into()
        };
        json!({ "Peers": peers })
    })
}

async fn swarm_connect(node: &Embedded, query: &Query) -> Response<Body> {
    let address = query.get("arg").to_owned();
    let peer = address.rsplit('/').next().unwrap_or_default().to_owned();
    match node.swarm_connect(address).await {
        Ok(()) => answer::object(&json!({"Strings": [format!("connect {peer} success")]})),
        Err(error) => answer::error(&format!("connect {peer} failure: failed to dial: {error}")),
    }
}

async fn resolve(node: &Embedded, query: &Query) -> Response<Body> {
    let found = node.resolve(query.get("arg").to_owned()).await;
    told(found, |cid| json!({"Path": format!("/ipfs/{cid}")}))
}

async fn block_get(node: &Embedded, query: &Query) -> Response<Body> {
    let cid = match cid(query.get("arg")) {
        Ok(cid) => cid,
        Err(refused) => return *refused,
    };
    match node.block_get(cid).await {
        Ok(block) => answer::bytes(block),
        Err(error) => answer::error(&error.to_string()),
    }
}

async fn block_put(node: &Embedded, query: &Query, request: Request<Incoming>) -> Response<Body> {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = kind
        .split("boundary=")
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    let Ok(body) = body else {
        return answer::plain(StatusCode::BAD_REQUEST, "unexpected EOF");
    };
    let codec = match query.get("cid-codec") {
        "dag-pb" => ipfs_cluster_protocol::content::DAG_PB,
        "dag-cbor" => ipfs_cluster_protocol::content::DAG_CBOR,
        "dag-json" => ipfs_cluster_protocol::content::DAG_JSON,
        _ => ipfs_cluster_protocol::content::RAW,
    };
    let Some(hash) = HashFunction::by_name(query.get("mhtype")) else {
        return answer::error("unrecognized multihash function");
    };
    let named = |data: Bytes| (Cid(WideCid::new_v1(codec, hash.digest(&data))), data);
    let blocks: Vec<(Cid, Bytes)> = parts(&body.to_bytes(), &boundary).map(named).collect();
    if blocks.is_empty() {
        let text = "file argument 'data' is required";
        return answer::plain(StatusCode::BAD_REQUEST, text);
    }
    let shown: Vec<Value> = blocks
        .iter()
        .map(|(cid, data)| json!({"Key": cid.to_string(), "Size": data.len()}))
        .collect();
    if let Err(error) = node.block_put(blocks).await {
        return answer::error(&error.to_string());
    }
    let (mut lines, response) = answer::lines();
    tokio::spawn(async move {
        for line in &shown {
            if !lines.send(line).await {
                return;
            }
        }
    });
    response
}

/// The contents of a form's parts.
fn parts<'a>(body: &'a Bytes, boundary: &str) -> impl Iterator<Item = Bytes> + use<'a> {
    let mark = format!("--{boundary}");
    let starts: Vec<usize> = find_all(body, mark.as_bytes());
    let ends: Vec<usize> = starts.iter().skip(1).copied().collect();
    starts
        .into_iter()
        .zip(ends)
        .filter_map(move |(start, end)| {
            let part = body.get(start..end)?;
            let head = find_all(part, b"\r\n\r\n").first().copied()?;
            // The line end before the next mark is not the part's.
            let last = end.checked_sub(2)?;
            (start + head + 4 <= last).then(|| body.slice(start + head + 4..last))
        })
}

fn find_all(within: &[u8], what: &[u8]) -> Vec<usize> {
    let windows = within.windows(what.len().max(1)).enumerate();
    windows
        .filter(|(_, w)| *w == what)
        .map(|(at, _)| at)
        .collect()
}

/// All pins of a node of one kind.
pub(super) async fn listed(node: &Embedded, mode: PinMode) -> Result<Vec<Cid>, IpfsError> {
    let pins: Vec<(Cid, PinMode)> = node.pin_ls().await?.try_collect().await?;
    let same = pins.into_iter().filter(|(_, m)| *m == mode);
    Ok(same.map(|(cid, _)| cid).collect())
}
