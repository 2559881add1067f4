//! Reading content through this peer's IPFS node: `GET /ipfs/{stat,ls,cat}?arg=PATH`.
//!
//! Not in the Go cluster, whose users ask the IPFS node itself.

use futures::StreamExt;
use http::{HeaderValue, StatusCode, header};
use ipfs_cluster_protocol::api::{content::ContentEntry, query::Query};

use super::Rest;
use crate::{
    api::{
        error::{self, bad_request},
        http::{
            reply::{self, Reply},
            stream::{self, OnSuccess},
        },
    },
    ipfs::{IpfsError, read},
};

/// The path asked for: a CID alone is one.
fn path(query: &Query) -> Result<String, Box<Reply>> {
    match query.get("arg") {
        "" => Err(Box::new(bad_request(
            "the argument arg=/ipfs/CID/… is missing",
        ))),
        path if path.starts_with('/') => Ok(path.to_owned()),
        cid => Ok(format!("/ipfs/{cid}")),
    }
}

fn failed(error: IpfsError) -> Reply {
    error::failed(error.into())
}

pub(crate) async fn stat(rest: Rest, query: Query) -> Reply {
    let path = match path(&query) {
        Ok(path) => path,
        Err(reply) => return *reply,
    };
    match read::stat(rest.backend.ipfs(), &path).await {
        Ok(entry) => reply::json(StatusCode::OK, &entry),
        Err(e) => failed(e),
    }
}

pub(crate) async fn ls(rest: Rest, query: Query) -> Reply {
    let path = match path(&query) {
        Ok(path) => path,
        Err(reply) => return *reply,
    };
    match read::entries(rest.backend.ipfs(), &path).await {
        Ok(entries) => {
            let entries = entries.map(|entry| {
                let (link, description) = entry?;
                let name = String::from_utf8_lossy(&link.name).into_owned();
                Ok(ContentEntry::new(name, link.cid, description))
            });
            stream::lines(entries.boxed(), failed).await
        }
        Err(e) => failed(e),
    }
}

pub(crate) async fn cat(rest: Rest, query: Query) -> Reply {
    let path = match path(&query) {
        Ok(path) => path,
        Err(reply) => return *reply,
    };
    match rest.backend.ipfs().cat(path).await {
        Ok(pieces) => bytes(pieces),
        Err(e) => failed(e),
    }
}

/// The bytes of a file, with the trailer that says whether they are all.
fn bytes(pieces: crate::ipfs::IpfsStream<bytes::Bytes>) -> Reply {
    let pieces = pieces.map(|piece| match piece {
        Ok(piece) => Ok(piece.to_vec()),
        Err(e) => Err(e.to_string()),
    });
    let body = stream::body(pieces.boxed(), OnSuccess::Absent);
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::TRAILER, stream::TRAILER);
    reply
}
