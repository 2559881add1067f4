//! Reading through the embedded node's API: `ls`, `get`, `cat` in part, `refs`, `block/stat`,
//! `dag/export`. Shapes are those recorded of Kubo.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use ipfs_cluster_protocol::{
    api::{content::ContentKind, json, query::Query},
    content::{car, dag_pb::Link, list::Description},
    id::Cid,
    limits::PINS_ARGUMENTS_MAX,
};
use serde::Serialize;

use super::uploaded::refused;
use crate::{
    api::http::{
        reply::{self, Reply},
        stream::{self as http_stream, OnSuccess},
    },
    ipfs::{IpfsError, IpfsStream, SharedIpfs, read, tar, walk},
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Objects {
    objects: [Object; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    /// The path as it was asked for.
    hash: String,
    links: Vec<LsLink>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LsLink {
    name: String,
    hash: Cid,
    size: u64,
    /// UnixFS's number: 1 folder, 2 file, 4 symlink.
    r#type: u8,
    target: String,
    mode: u32,
    mod_time: String,
}

impl LsLink {
    fn new((link, description): (Link, Description)) -> Self {
        let name = String::from_utf8_lossy(&link.name).into_owned();
        let entry =
            ipfs_cluster_protocol::api::content::ContentEntry::new(name, link.cid, description);
        Self {
            hash: link.cid,
            size: entry.size,
            r#type: match entry.kind {
                ContentKind::Directory => 1,
                ContentKind::File => 2,
                ContentKind::Symlink => 4,
            },
            target: entry.target.unwrap_or_default(),
            mode: entry.mode.unwrap_or_default(),
            mod_time: mod_time(entry.mtime, entry.mtime_nsecs),
            name: entry.name,
        }
    }
}

/// As Go prints a time, its zero where there is none.
fn mod_time(seconds: Option<i64>, nanos: Option<u32>) -> String {
    let at = seconds.and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    let at = at.and_then(|at| at.replace_nanosecond(nanos.unwrap_or_default()).ok());
    let text = at.and_then(|at| {
        let format = &time::format_description::well_known::Rfc3339;
        at.format(format).ok()
    });
    text.unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ref {
    r#ref: String,
    err: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BlockStat {
    key: Cid,
    size: usize,
}

/// The arguments of a call, in order; more than are served are refused, not dropped.
pub(in crate::api) fn arguments(query: &Query) -> Result<Vec<&str>, IpfsError> {
    let found: Vec<&str> = query.all("arg").take(PINS_ARGUMENTS_MAX + 1).collect();
    if found.len() > PINS_ARGUMENTS_MAX {
        return Err(refused(format_args!(
            "more than {PINS_ARGUMENTS_MAX} arguments: ask for fewer at a time"
        )));
    }
    Ok(found)
}

/// The path of an argument: a CID alone is one.
pub(in crate::api) fn path(argument: &str) -> Result<String, IpfsError> {
    let required = || IpfsError::Refused("argument \"ipfs-path\" is required".to_owned());
    match argument {
        "" => Err(required()),
        path if path.starts_with('/') => Ok(path.to_owned()),
        cid => Ok(format!("/ipfs/{cid}")),
    }
}

pub(super) async fn ls(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let hash = query.get("arg").to_owned();
    let links = read::entries(node, &path(&hash)?).await?;
    let links = links.map_ok(LsLink::new);
    let object = |hash: &str, links| Objects {
        objects: [Object {
            hash: hash.to_owned(),
            links,
        }],
    };
    if matches!(query.get("stream"), "true" | "1") || query.get("s") == "true" {
        let lines = links.map_ok(move |link| object(&hash, vec![link]));
        return Ok(lines_of(lines.boxed()));
    }
    let mut links: Vec<LsLink> = links.try_collect().await?;
    links.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reply::json(StatusCode::OK, &object(&hash, links)))
}

pub(super) async fn cat(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let number = |key: &str, default: u64| match query.get(key) {
        "" => Ok(default),
        text => text
            .parse()
            .map_err(|_| IpfsError::Refused(format!("invalid value {text:?} of option {key}"))),
    };
    let (offset, length) = (number("offset", 0)?, number("length", u64::MAX)?);
    let path = path(query.get("arg"))?;
    let pieces = if (offset, length) == (0, u64::MAX) {
        node.cat(path).await?
    } else {
        let root = node.resolve(path).await?;
        read::range(node, root, (offset, length)).await?
    };
    Ok(bytes_of(pieces, "text/plain"))
}

pub(super) async fn get(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    if !matches!(query.get("compress"), "" | "false") {
        return Err(IpfsError::Unsupported("compress=true"));
    }
    let path = path(query.get("arg"))?;
    let archive = tar::archive(node, &path).await?;
    Ok(bytes_of(archive, "application/x-tar"))
}

pub(super) async fn refs(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let root = node.resolve(path(query.get("arg"))?).await?;
    let set = |key: &str, short: &str| query.get(key) == "true" || query.get(short) == "true";
    let depth = match (query.get("max-depth").parse::<i64>(), set("recursive", "r")) {
        (_, false) => 1,
        (Ok(depth), true) => usize::try_from(depth).unwrap_or(usize::MAX),
        (Err(_), true) => usize::MAX,
    };
    let refs = walk::refs(node, root, depth, set("unique", "u"));
    let lines = refs.map(|cid| {
        let (cid, err) = match cid {
            Ok(cid) => (cid.to_string(), String::new()),
            Err(e) => (String::new(), e.to_string()),
        };
        Ok::<_, IpfsError>(Ref { r#ref: cid, err })
    });
    Ok(lines_of(lines.boxed()))
}

/// The blocks of the store, in no order.
pub(super) async fn refs_local(node: &SharedIpfs) -> Result<Reply, IpfsError> {
    let blocks = node.blocks().await?;
    let lines = blocks.map_ok(|cid| Ref {
        r#ref: cid.to_string(),
        err: String::new(),
    });
    Ok(lines_of(lines.boxed()))
}

pub(super) async fn block_stat(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let key = node.resolve(path(query.get("arg"))?).await?;
    let size = node.block_get(key).await?.len();
    Ok(reply::json(StatusCode::OK, &BlockStat { key, size }))
}

pub(super) async fn dag_export(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let root = node.resolve(path(query.get("arg"))?).await?;
    let blocks = walk::blocks(node, root, true);
    let sections = blocks.map_ok(|(cid, block)| Bytes::from(car::section(&cid, &block)));
    let header = stream::iter([Ok(Bytes::from(car::header(&[root])))]);
    let archive = header.chain(sections).boxed();
    Ok(bytes_of(archive, "application/vnd.ipld.car"))
}

/// A line per item.
pub(in crate::api) fn lines_of<T: Serialize + 'static>(items: IpfsStream<T>) -> Reply {
    let lines = items.map(|item| {
        let item = item.map_err(|e| e.to_string())?;
        json::to_line(&item).map_err(|e| e.to_string())
    });
    let body = http_stream::body(lines.boxed(), OnSuccess::Absent);
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert(header::TRAILER, http_stream::TRAILER);
    headers.insert("x-chunked-output", HeaderValue::from_static("1"));
    reply
}

pub(super) fn bytes_of(pieces: IpfsStream<Bytes>, kind: &'static str) -> Reply {
    let pieces = pieces.map(|piece| match piece {
        Ok(piece) => Ok(piece.to_vec()),
        Err(e) => Err(e.to_string()),
    });
    let body = http_stream::body(pieces.boxed(), OnSuccess::Absent);
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::TRAILER, http_stream::TRAILER);
    headers.insert("x-stream-output", HeaderValue::from_static("1"));
    reply
}
