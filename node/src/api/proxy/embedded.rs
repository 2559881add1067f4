//! The part of the IPFS node's API that is served for the embedded node, from what every node can
//! do.

use http::{HeaderValue, Method, Request, StatusCode, header};
use ipfs_cluster_protocol::{
    api::{error::parse_cid, query::Query},
    id::{Cid, PeerId},
};
use serde::Serialize;

use super::{reading, reply::error};
use crate::{
    api::http::reply::{self, Reply},
    ipfs::{IpfsError, SharedIpfs},
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
struct RepoStat {
    repo_size: u64,
    storage_max: u64,
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

/// The embedded node's answer.
pub(super) async fn answer<B>(node: &SharedIpfs, request: &Request<B>) -> Reply {
    let Some(call) = request.uri().path().strip_prefix("/api/v0/") else {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let known = [
        "version",
        "id",
        "repo/stat",
        "swarm/peers",
        "cat",
        "block/get",
        "block/stat",
        "dag/export",
        "get",
        "ls",
        "refs",
        "resolve",
    ];
    if !known.contains(&call) {
        let message = "404 page not found: the embedded IPFS node does not serve this call\n";
        return text(StatusCode::NOT_FOUND, message);
    }
    if request.method() != Method::POST {
        let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "405 - Method Not Allowed\n");
        let allowed = HeaderValue::from_static("OPTIONS, POST");
        reply.headers_mut().insert(header::ALLOW, allowed);
        return reply;
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let argument = query.get("arg");
    let done = match call {
        "version" => version(node).await,
        "id" => id(node).await,
        "repo/stat" => repo_stat(node).await,
        "swarm/peers" => swarm_peers(node).await,
        "cat" => reading::cat(node, &query).await,
        "ls" => reading::ls(node, &query).await,
        "get" => reading::get(node, &query).await,
        "refs" => reading::refs(node, &query).await,
        "block/stat" => reading::block_stat(node, &query).await,
        "dag/export" => reading::dag_export(node, &query).await,
        "block/get" => block_get(node, argument).await,
        _ => resolve(node, argument).await,
    };
    done.unwrap_or_else(error)
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

async fn repo_stat(node: &SharedIpfs) -> Result<Reply, IpfsError> {
    let stat = node.repo_stat().await?;
    Ok(object(&RepoStat {
        repo_size: stat.repo_size,
        storage_max: stat.storage_max,
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

async fn resolve(node: &SharedIpfs, argument: &str) -> Result<Reply, IpfsError> {
    let cid = node.resolve(reading::path(argument)?).await?;
    Ok(object(&Resolved {
        path: format!("/ipfs/{cid}"),
    }))
}
