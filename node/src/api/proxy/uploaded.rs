//! Calls in which each part of the upload is a block (`block/put`, `dag/put`): how they are read and
//! answered, in Kubo's shapes.

use std::fmt;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use ipfs_cluster_protocol::{api::query::Query, content::hash::HashFunction, id::Cid};

use crate::{
    api::{
        http::reply::{self, Reply},
        rest::add::Parts,
    },
    ipfs::{IpfsError, SharedIpfs, http::error_chain},
};

/// A call that is not carried out, and why.
pub(in crate::api) fn refused(why: impl fmt::Display) -> IpfsError {
    IpfsError::Refused(why.to_string())
}

/// The hash function that an option names; without it sha2-256.
pub(super) fn hash_function(query: &Query, option: &str) -> Result<HashFunction, IpfsError> {
    let name = Some(query.get(option)).filter(|name| !name.is_empty());
    let name = name.unwrap_or("sha2-256");
    let unknown = || refused(format_args!("unrecognized multihash function: {name}"));
    HashFunction::by_name(name).ok_or_else(unknown)
}

/// What an upload was stored as.
pub(super) struct Uploaded {
    /// Of each part.
    pub(super) cids: Vec<Cid>,
    /// The answer, a line for each part.
    pub(super) lines: Vec<u8>,
}

impl Uploaded {
    /// Stores the blocks of the parts.
    pub(super) async fn store(
        node: &SharedIpfs,
        blocks: Vec<(Cid, Bytes)>,
        lines: Vec<u8>,
    ) -> Result<Self, IpfsError> {
        let cids = blocks.iter().map(|(cid, _)| *cid).collect();
        node.block_put(blocks).await?;
        Ok(Self { cids, lines })
    }
}

/// The parts of an upload, in order.
pub(super) async fn parts(headers: &HeaderMap, body: Incoming) -> Result<Vec<Bytes>, IpfsError> {
    let body = BodyDataStream::new(body).map(|chunk| chunk.map_err(|e| error_chain(&e)));
    let parts = Parts::open(headers, body.boxed()).map_err(refused)?;
    parts.blocks().await.map_err(refused)
}

/// The answer: a line of JSON for each part.
pub(super) fn lines(lines: Vec<u8>) -> Reply {
    let mut reply = Reply::default().map(|_| lines.into());
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert("x-chunked-output", HeaderValue::from_static("1"));
    reply
}
