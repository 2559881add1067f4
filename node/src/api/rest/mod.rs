//! Handlers of the REST API: parse, ask the backend, print.

pub(crate) mod add;
pub(crate) mod allocations;
mod archive;
pub(crate) mod batch;
pub(crate) mod content;
pub(crate) mod health;
pub(crate) mod id;
pub(crate) mod metrics;
pub(crate) mod multipart;
pub(crate) mod peers;
pub(crate) mod pins;
pub(crate) mod upload;

use std::{fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use http::StatusCode;
use ipfs_cluster_protocol::{
    api::{
        add::AddParams,
        error::{parse_cid, parse_peer},
        query::{Query, has_broken_escape},
    },
    id::{Cid, PeerId},
    time::Timestamp,
};
use prometheus_client::registry::Registry;

use super::{
    backend::{AddSession, AddTo, Backend, Commit},
    error::{bad_request, failed},
    headers::{READ_PATIENCE, read_at, stamp},
    http::reply::{self, Reply},
};
use crate::cluster::ClusterError;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct Rest {
    pub(crate) backend: Arc<dyn Backend>,
    /// All that is measured in this process.
    pub(crate) registry: Arc<Registry>,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rest")
    }
}

#[async_trait]
impl AddTo for Rest {
    async fn add_session(
        &self,
        params: &AddParams,
        bytes: u64,
    ) -> Result<Box<dyn AddSession>, ClusterError> {
        self.backend.add_session(params, bytes).await
    }
}

/// One segment of a path, its escapes resolved.
#[derive(Debug, Clone)]
pub(crate) struct Segment(pub(crate) String);

impl FromStr for Segment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        unescape(text).map(Self).ok_or(())
    }
}

/// Resolves the escapes of a path.
pub(crate) fn unescape(text: &str) -> Option<String> {
    if has_broken_escape(text) {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.ok().map(|t| t.into_owned())
}

/// The time that `expire-in` counts from.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.map_or(0, |d| d.as_millis());
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// The CID of a path, or the answer that there is none.
pub(crate) fn cid(segment: &Segment) -> Result<Cid, Box<Reply>> {
    parse_cid(&segment.0)
        .map_err(|e| Box::new(bad_request(format_args!("error decoding Cid: {e}"))))
}

/// The peer of a path, or the answer that there is none.
pub(crate) fn peer(segment: &Segment) -> Result<PeerId, Box<Reply>> {
    parse_peer(&segment.0)
        .map_err(|e| Box::new(bad_request(format_args!("error decoding Peer ID: {e}"))))
}

/// Whether only this peer is asked.
pub(crate) fn local(query: &Query) -> bool {
    query.get("local") == "true"
}

/// Waits until this peer has seen as much of the log as the read asks for.
pub(crate) async fn caught_up(rest: &Rest, query: &Query) -> Result<Option<Commit>, Box<Reply>> {
    let Some(at) = read_at(query).map_err(|e| Box::new(bad_request(e)))? else {
        return Ok(None);
    };
    let seen = rest.backend.read_at(at, READ_PATIENCE).await;
    seen.map(Some).map_err(|e| Box::new(failed(e)))
}

/// The answer to a read, marked with how far it has seen the log where it was asked for.
pub(crate) fn stamped(mut reply: Reply, seen: Option<Commit>) -> Reply {
    if let Some(seen) = seen {
        stamp(&mut reply, seen);
    }
    reply
}

/// An object, or the error object.
pub(crate) fn object<T: serde::Serialize>(result: Result<T, ClusterError>) -> Reply {
    match result {
        Ok(value) => reply::json(StatusCode::OK, &value),
        Err(e) => failed(e),
    }
}
