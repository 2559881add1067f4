//! `add`: an upload to the cluster, told in the IPFS node's shapes.

use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use ipfs_cluster_protocol::api::{
    add::{AddLayout, AddParams, AddedOutput},
    json,
    query::Query,
};
use serde::Serialize;

use super::reply::error;
use crate::{
    api::{
        backend::AddTo,
        http::reply::{self, Reply},
        rest::{
            Rest,
            add::{Parts, collect, streamed},
            now,
        },
    },
    ipfs::http::error_chain,
};

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Hash", skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(rename = "Bytes", skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(rename = "Size", skip_serializing_if = "Option::is_none")]
    size: Option<String>,
}

impl<'a> From<&'a AddedOutput> for Line<'a> {
    fn from(output: &'a AddedOutput) -> Self {
        Self {
            name: &output.name,
            hash: output.cid.map(|cid| cid.to_string()),
            bytes: Some(output.bytes).filter(|n| *n != 0),
            size: Some(output.size).filter(|n| *n != 0).map(|n| n.to_string()),
        }
    }
}

fn print(output: &AddedOutput) -> serde_json::Result<Vec<u8>> {
    json::to_line(&Line::from(output))
}

pub(super) async fn add(rest: &Rest, query: Query, headers: &HeaderMap, body: Incoming) -> Reply {
    if query.get("only-hash") == "true" {
        return error("only-hash is not supported when adding to cluster");
    }
    upload(rest, query, headers, body).await
}

/// Reads an upload and tells what became of it.
pub(in crate::api) async fn upload(
    to: &impl AddTo,
    query: Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Reply {
    let flag = |key: &str| query.get(key) == "true";
    let mut params = match AddParams::from_query(&query, now()) {
        Ok(params) => params,
        Err(e) => return error(format_args!("error parsing options:{e}")),
    };
    if flag("trickle") {
        params.layout = AddLayout::Trickle;
    }
    if query.get("pin") == "false" {
        params.no_pin = true;
    }
    let body = BodyDataStream::new(body).map(|chunk| chunk.map_err(|e| error_chain(&e)));
    let unreadable = |e: String| error(format_args!("error reading request: {e}"));
    let mut parts = match Parts::open(headers, body.boxed()) {
        Ok(parts) => parts,
        Err(e) => return unreadable(e.to_string()),
    };
    match parts.peek().await {
        Ok(true) => {}
        Ok(false) => return unreadable("the upload has no parts".to_owned()),
        Err(e) => return unreadable(e.to_string()),
    }
    let mut reply = if params.stream_channels {
        streamed(to.clone(), params, parts, print)
    } else {
        match collect(to, params, parts).await {
            Ok((outputs, _)) => {
                let lines: Vec<Line<'_>> = outputs.iter().map(Line::from).collect();
                reply::json(StatusCode::OK, &lines)
            }
            Err(e) => return error(e),
        }
    };
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_node_s_shapes() {
        let text = |output: &AddedOutput| String::from_utf8(print(output).unwrap()).unwrap();
        let cid = "QmV28EG5yaJwEwUQeYBtHqhNdAwEiqWM5Huvf1MxnV9aUJ";
        let file = AddedOutput {
            name: "hello.txt".to_owned(),
            cid: cid.parse().ok(),
            size: 20,
            ..AddedOutput::default()
        };
        assert_eq!(
            text(&file),
            format!("{{\"Name\":\"hello.txt\",\"Hash\":\"{cid}\",\"Size\":\"20\"}}\n")
        );
        let progress = AddedOutput {
            bytes: 5,
            ..AddedOutput::default()
        };
        assert_eq!(text(&progress), "{\"Name\":\"\",\"Bytes\":5}\n");
    }
}
