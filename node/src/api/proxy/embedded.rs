//! The part of the IPFS node's API that is served for the embedded node, from what every node can
//! do.

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use ipfs_cluster_protocol::{
    api::{error::parse_cid, json, query::Query},
    content::{DAG_CBOR, DAG_PB, RAW, hash},
    id::{Cid, PeerId},
    pin::PinMode,
};
use serde::Serialize;

use super::{
    cors, dag, reading,
    reply::error,
    repo,
    uploaded::{self, Uploaded, refused},
};
use crate::{
    api::{
        gateway,
        http::reply::{self, Reply},
    },
    ipfs::{IpfsError, PinRequest, SharedIpfs},
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    commit: &'static str,
    repo: &'static str,
    system: String,
}

#[derive(Serialize)]
struct NodeId {
    #[serde(rename = "ID")]
    id: PeerId,
    #[serde(rename = "Addresses")]
    addresses: Vec<String>,
    #[serde(rename = "AgentVersion")]
    agent: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmPeers {
    peers: Vec<SwarmPeer>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmPeer {
    addr: &'static str,
    peer: PeerId,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    path: String,
}

/// The calls it answers.
const KNOWN: [&str; 18] = [
    "version",
    "id",
    "repo/stat",
    "swarm/peers",
    "cat",
    "block/get",
    "block/put",
    "block/stat",
    "dag/export",
    "dag/get",
    "dag/put",
    "dag/stat",
    "get",
    "ls",
    "refs",
    "refs/local",
    "repo/verify",
    "resolve",
];

/// Who pins what is put with `pin=true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Keeper {
    /// The cluster, once it has the answer.
    Cluster,
    /// The node itself.
    Node,
}

/// The embedded node's answer.
pub(in crate::api) async fn answer(
    node: &SharedIpfs,
    request: Request<Incoming>,
    keeper: Keeper,
) -> Reply {
    if request.uri().path().starts_with("/ipfs/") {
        return gateway::answer(node, &request).await;
    }
    let Some(call) = request.uri().path().strip_prefix("/api/v0/") else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    if !KNOWN.contains(&call) {
        let message = "404 page not found: the embedded IPFS node does not serve this call\n";
        return text(StatusCode::NOT_FOUND, message);
    }
    if let Some(refused) = refuse(&request) {
        return refused;
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let argument = query.get("arg");
    let call = call.to_owned();
    if ["block/put", "dag/put"].contains(&call.as_str()) {
        let (head, body) = request.into_parts();
        let put = match call.as_str() {
            "block/put" => block_put(node, &query, &head.headers, body).await,
            _ => dag::put(node, &query, &head.headers, body).await,
        };
        let put = match put {
            Ok(put) => put,
            Err(e) => return error(e),
        };
        if keeper == Keeper::Node && query.get("pin") == "true" {
            for cid in &put.cids {
                if let Err(e) = keep(node, *cid).await {
                    return error(e);
                }
            }
        }
        return uploaded::lines(put.lines);
    }
    let done = match call.as_str() {
        "version" => version(node).await,
        "id" => id(node).await,
        "repo/stat" => repo::of_node(node).await,
        "swarm/peers" => swarm_peers(node).await,
        "cat" => reading::cat(node, &query).await,
        "ls" => reading::ls(node, &query).await,
        "get" => reading::get(node, &query).await,
        "refs" => reading::refs(node, &query).await,
        "block/stat" => reading::block_stat(node, &query).await,
        "dag/export" => reading::dag_export(node, &query).await,
        "dag/get" => dag::get(node, &query).await,
        "dag/stat" => dag::stat(node, &query).await,
        "refs/local" => reading::refs_local(node).await,
        "repo/verify" => dag::verify(node).await,
        "block/get" => block_get(node, argument).await,
        _ => resolve(node, argument).await,
    };
    done.unwrap_or_else(error)
}

/// The answer to a call that the node does not carry out: of a page of elsewhere, a preflight, or with
/// another method than POST.
pub(in crate::api) fn refuse(request: &Request<Incoming>) -> Option<Reply> {
    let refused = cors::refuse(request.headers());
    let refused = refused.or_else(|| cors::preflight(request.method(), request.headers()));
    if refused.is_some() || request.method() == Method::POST {
        return refused;
    }
    let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "405 - Method Not Allowed\n");
    let allowed = HeaderValue::from_static("OPTIONS, POST");
    reply.headers_mut().insert(header::ALLOW, allowed);
    Some(reply)
}

/// Pins, on the node alone.
async fn keep(node: &SharedIpfs, cid: Cid) -> Result<(), IpfsError> {
    let request = PinRequest::new(cid, PinMode::Recursive, "");
    node.pin(request, Box::new(|_| ())).await
}

fn text(status: StatusCode, text: &'static str) -> Reply {
    let mut reply = Reply::default().map(|_| text.into());
    *reply.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, plain);
    reply
}

fn object<T: Serialize>(value: &T) -> Reply {
    reply::json(StatusCode::OK, value)
}

async fn version(node: &SharedIpfs) -> Result<Reply, IpfsError> {
    Ok(object(&Version {
        version: node.version().await?,
        commit: "",
        repo: "",
        system: format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS),
    }))
}

async fn id(node: &SharedIpfs) -> Result<Reply, IpfsError> {
    let id = node.id().await?;
    Ok(object(&NodeId {
        id: id.id,
        addresses: id.addresses,
        agent: node.version().await?,
    }))
}

async fn swarm_peers(node: &SharedIpfs) -> Result<Reply, IpfsError> {
    let peers = node.swarm_peers().await?.into_iter();
    Ok(object(&SwarmPeers {
        peers: peers.map(|peer| SwarmPeer { addr: "", peer }).collect(),
    }))
}

async fn block_get(node: &SharedIpfs, argument: &str) -> Result<Reply, IpfsError> {
    let cid: Cid = parse_cid(argument.strip_prefix("/ipfs/").unwrap_or(argument))
        .map_err(|e| IpfsError::Refused(e.to_string()))?;
    let block = node.block_get(cid).await?;
    let mut reply = Reply::default().map(|_| block.into());
    let headers = reply.headers_mut();
    let bytes = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, bytes);
    headers.insert("x-stream-output", HeaderValue::from_static("1"));
    Ok(reply)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    key: Cid,
    size: usize,
}

/// Each part of the upload is a block; its CID follows from `cid-codec` (or the older `format`),
/// `mhtype` and the bytes.
async fn block_put(
    node: &SharedIpfs,
    query: &Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Uploaded, IpfsError> {
    let (version, codec) = codec(query)?;
    let function = uploaded::hash_function(query, "mhtype")?;
    let mut lines = Vec::new();
    let mut blocks = Vec::new();
    for data in uploaded::parts(headers, body).await? {
        let len = function.digest(&data).digest().len();
        let key = hash::name_like(version, codec, function.code(), len, &data);
        let key = key.ok_or_else(|| refused("invalid cid: invalid v0 prefix"))?;
        let size = data.len();
        lines.extend(json::to_line(&Put { key, size }).map_err(refused)?);
        blocks.push((key, data));
    }
    Uploaded::store(node, blocks, lines).await
}

/// Version and codec of a block's CID.
fn codec(query: &Query) -> Result<(u64, u64), IpfsError> {
    match (query.get("cid-codec"), query.get("format")) {
        ("", "v0") => Ok((0, DAG_PB)),
        ("", "protobuf") | ("dag-pb" | "protobuf", _) => Ok((1, DAG_PB)),
        ("", "" | "raw") | ("raw", _) => Ok((1, RAW)),
        ("", "cbor") | ("dag-cbor", _) => Ok((1, DAG_CBOR)),
        ("", other) | (other, _) => Err(IpfsError::Refused(format!(
            "unrecognized cid codec: {other}"
        ))),
    }
}

async fn resolve(node: &SharedIpfs, argument: &str) -> Result<Reply, IpfsError> {
    let cid = node.resolve(reading::path(argument)?).await?;
    Ok(object(&Resolved {
        path: format!("/ipfs/{cid}"),
    }))
}
