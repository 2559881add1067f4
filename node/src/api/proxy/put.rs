//! `block/put` and `dag/put` with `pin=true`: the node stores, the cluster pins.
//!
//! The upload goes to the node as it comes, with `pin=false`; of each line of its answer the CID is
//! pinned, then the line goes on to the client.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use ipfs_cluster_protocol::{
    api::{error::parse_cid, options::PinOptions, query::Query},
    limits,
};
use serde_json::Value;

use super::{
    Call, ProxiedNode,
    embedded::{self, Keeper},
    reply::error,
    upstream,
};
use crate::api::{
    http::{
        reply::{self, Outgoing, Reply},
        stream::{self as lines, OnSuccess, STREAM_ERROR},
    },
    rest::Rest,
};

pub(super) async fn put(
    rest: &Rest,
    node: &ProxiedNode,
    call: Call,
    request: Request<Incoming>,
) -> Reply {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let answer = match node {
        ProxiedNode::Http(client) => match unpinned(request, &query) {
            Ok(request) => upstream::pass(client, request).await,
            Err(e) => return error(e),
        },
        ProxiedNode::Embedded => {
            let reply = embedded::answer(rest.backend.ipfs(), request, Keeper::Cluster).await;
            reply::into_outgoing(reply)
        }
    };
    if answer.status() != StatusCode::OK {
        return passed(answer);
    }
    let rest = rest.clone();
    let pinned = values(answer.into_body()).and_then(move |line| {
        let rest = rest.clone();
        async move {
            pin(&rest, call, &line).await?;
            Ok(line)
        }
    });
    let body = lines::body(
        pinned.map_ok(|line| line.to_vec()).boxed(),
        OnSuccess::Absent,
    );
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert(header::TRAILER, lines::TRAILER);
    reply
}

/// The same request without its `pin`.
fn unpinned(
    request: Request<Incoming>,
    query: &Query,
) -> Result<Request<Incoming>, http::uri::InvalidUri> {
    let mut kept = Query::default();
    for (key, value) in query.pairs().filter(|(key, _)| *key != "pin") {
        kept.push(key, value);
    }
    kept.push("pin", "false");
    let (mut head, body) = request.into_parts();
    let target = format!("{}?{kept}", head.uri.path());
    head.uri = Uri::from(target.parse::<PathAndQuery>()?);
    Ok(Request::from_parts(head, body))
}

/// The node's own refusal.
fn passed(answer: Outgoing) -> Reply {
    let (head, body) = answer.into_parts();
    let mut reply = reply::with_body(head.status, body);
    for (name, value) in &head.headers {
        let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        if !framing.contains(name) {
            reply.headers_mut().append(name, value.clone());
        }
    }
    reply
}

/// Pins what a line names.
async fn pin(rest: &Rest, call: Call, line: &[u8]) -> Result<(), String> {
    let value: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let text = match call {
        Call::BlockPut => value["Key"].as_str(),
        _ => value["Cid"]["/"].as_str(),
    };
    let text = text.ok_or("the IPFS node's answer names no CID")?;
    let cid = parse_cid(text).map_err(|e| e.to_string())?;
    let pinned = rest.backend.pin(cid, PinOptions::default()).await;
    pinned.map(drop).map_err(|e| e.to_string())
}

/// The lines of a body, each with its end. A trailer with an error is an error.
fn values<B>(body: B) -> impl Stream<Item = Result<Bytes, String>> + Send
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    stream::try_unfold((body, BytesMut::new(), false), |state| async move {
        let (mut body, mut read, mut ended) = state;
        loop {
            if let Some(end) = read.iter().position(|b| *b == b'\n') {
                let line = read.split_to(end + 1).freeze();
                return Ok(Some((line, (body, read, ended))));
            }
            if ended {
                return Ok(match read.split().freeze() {
                    rest if rest.is_empty() => None,
                    rest => Some((rest, (body, read, ended))),
                });
            }
            match body.frame().await {
                None => ended = true,
                Some(Err(e)) => return Err(e.to_string()),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => read.extend_from_slice(&data),
                    Err(frame) => {
                        let trailers = frame.trailers_ref();
                        let failed = trailers.and_then(|t| t.get(STREAM_ERROR));
                        let text = failed.map(|v| String::from_utf8_lossy(v.as_bytes()));
                        if let Some(text) = text.filter(|text| !text.is_empty()) {
                            return Err(text.into_owned());
                        }
                    }
                },
            }
            if read.len() > limits::JSON_BODY_BYTES_MAX {
                return Err("a line of the IPFS node is too long".to_owned());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_an_error_in_the_trailer_is_one() {
        let texts = |texts: Vec<Result<Vec<u8>, String>>| {
            lines::body(stream::iter(texts).boxed(), OnSuccess::Absent)
        };
        let body = texts(vec![Ok(b"{\"a\":1}\n{\"b\"".to_vec()), Ok(b":2}".to_vec())]);
        let read: Vec<Bytes> = values(body).try_collect().await.unwrap();
        assert_eq!(read, [&b"{\"a\":1}\n"[..], b"{\"b\":2}"]);
        let body = texts(vec![Ok(b"{}\n".to_vec()), Err("no room".to_owned())]);
        let read: Vec<Result<Bytes, String>> = values(body).collect().await;
        assert_eq!(read[1], Err("no room".to_owned()));
    }
}
