//! `repo/stat` and `repo/gc`: of all peers' IPFS nodes together, and of one node.

use futures::{StreamExt, stream};
use http::{StatusCode, header};
use ipfs_cluster_protocol::{
    api::{json, query::Query},
    id::Cid,
};
use serde::Serialize;

use super::{
    reading::lines_of,
    reply::{error, object},
};
use crate::{
    api::{
        http::{
            reply::{self, Reply},
            stream::{self as lines, OnSuccess},
        },
        rest::Rest,
    },
    ipfs::{Collected, IpfsError, RepoStat, SharedIpfs},
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    repo_size: u64,
    storage_max: u64,
    /// Nobody counts them; Kubo's JavaScript client wants a number here, and texts in the others.
    num_objects: u64,
    repo_path: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Link>,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

#[derive(Serialize)]
struct Link {
    #[serde(rename = "/")]
    cid: Cid,
}

impl From<RepoStat> for Stat {
    fn from(stat: RepoStat) -> Self {
        Self {
            repo_size: stat.repo_size,
            storage_max: stat.storage_max,
            num_objects: 0,
            repo_path: "",
            version: "",
        }
    }
}

pub(super) async fn stat(rest: &Rest) -> Reply {
    match rest.backend.repo_stat().await {
        Ok(stat) => object(StatusCode::OK, &Stat::from(stat)),
        Err(e) => error(e),
    }
}

/// The same of one node.
pub(super) async fn of_node(node: &SharedIpfs) -> Result<Reply, IpfsError> {
    let stat = node.repo_stat().await?;
    Ok(object(StatusCode::OK, &Stat::from(stat)))
}

/// `repo/gc` of one node: blocks are told as they are removed.
pub(in crate::api) async fn gc_of_node(
    node: &SharedIpfs,
    query: &Query,
) -> Result<Reply, IpfsError> {
    let as_lines = query.get("stream-errors") == "true";
    let collected = node.repo_gc().await?;
    let lines = collected.map(move |found| match found? {
        Collected::Removed(cid) => Ok(Line {
            key: Some(Link { cid }),
            error: String::new(),
        }),
        Collected::Failed(error) if as_lines => Ok(Line { key: None, error }),
        Collected::Failed(error) => Err(IpfsError::Refused(error)),
    });
    Ok(lines_of(lines.boxed()))
}

/// A line per block that was removed. Errors are lines too where that is asked for, else the
/// trailer names them.
pub(super) async fn gc(rest: &Rest, query: &Query) -> Reply {
    let as_lines = query.get("stream-errors") == "true";
    let collected = match rest.backend.repo_gc(false).await {
        Ok(collected) => collected,
        Err(e) => return error(e),
    };
    let mut texts = Vec::new();
    let mut errors = Vec::new();
    for peer in collected.peer_map.into_values() {
        let failed = Some(peer.error).filter(|e| !e.is_empty());
        let failed = failed.map(|error| (None, error));
        let keys = peer.keys.into_iter().map(|key| (key.key, key.error));
        for (key, error) in keys.chain(failed) {
            if !error.is_empty() && !as_lines {
                errors.push(error);
                continue;
            }
            let key = key.map(|cid| Link { cid });
            texts.push(json::to_line(&Line { key, error }).map_err(|e| e.to_string()));
        }
    }
    if !errors.is_empty() {
        texts.push(Err(errors.join("; ")));
    }
    let body = lines::body(stream::iter(texts).boxed(), OnSuccess::Absent);
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert(header::TRAILER, lines::TRAILER);
    reply
}
