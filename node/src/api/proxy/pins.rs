//! `pin/add`, `pin/rm`, `pin/ls`, `pin/update`, on the cluster's pins.

use ipfs_cluster_protocol::limits;
use std::collections::BTreeMap;

use futures::{StreamExt, future::ready, stream};
use http::{StatusCode, header};
use ipfs_cluster_protocol::{
    api::{error::parse_cid, json, options::PinOptions, query::Query, status::PinTypeFilter},
    id::Cid,
    pin::{Pin, PinMode},
};
use serde::Serialize;

use super::reply::{error, error_with, object};
use crate::{
    api::{
        backend::Items,
        http::{
            reply::{self, Reply},
            stream::{self as lines, OnSuccess},
        },
        rest::{Rest, pins::IpfsPath},
    },
    cluster::ClusterError,
};

#[derive(Serialize)]
struct Pins {
    #[serde(rename = "Pins")]
    pins: Vec<Cid>,
}

#[derive(Serialize)]
struct Kind {
    #[serde(rename = "Type")]
    mode: PinMode,
}

#[derive(Serialize)]
struct Keys {
    #[serde(rename = "Keys")]
    keys: BTreeMap<Cid, Kind>,
}

#[derive(Serialize)]
struct Line {
    #[serde(rename = "Cid")]
    cid: Cid,
    #[serde(rename = "Type")]
    mode: PinMode,
}

/// What is pinned or unpinned: a CID, or a path that must be resolved.
enum Target {
    Cid(Cid),
    Path(String),
}

fn target(text: &str) -> Result<Target, String> {
    if let Ok(cid) = parse_cid(text) {
        return Ok(Target::Cid(cid));
    }
    let path = IpfsPath(text.to_owned()).checked();
    path.map(Target::Path).map_err(|e| e.to_string())
}

/// The targets of a call, at least one.
fn targets(query: &Query) -> Result<Vec<Target>, Box<Reply>> {
    let refused = |e: String| Box::new(error(format_args!("Error parsing IPFS Path: {e}")));
    let mut found = Vec::new();
    for text in query.all("arg").take(limits::PINS_ARGUMENTS_MAX) {
        found.push(target(text).map_err(refused)?);
    }
    if found.is_empty() {
        found.push(target("").map_err(refused)?);
    }
    Ok(found)
}

pub(super) async fn add(rest: &Rest, query: &Query) -> Reply {
    let targets = match targets(query) {
        Ok(targets) => targets,
        Err(reply) => return *reply,
    };
    let options = PinOptions {
        name: query.get("name").to_owned(),
        mode: match (query.get("type"), query.get("recursive")) {
            ("direct", _) => PinMode::Direct,
            _ => PinMode::Recursive,
        },
        ..PinOptions::default()
    };
    let mut pins = Vec::new();
    for target in targets {
        let done = match target {
            Target::Cid(cid) => rest.backend.pin(cid, options.clone()).await,
            Target::Path(path) => rest.backend.pin_path(path, options.clone()).await,
        };
        match done {
            Ok((pin, _)) => pins.push(pin.spec.cid),
            Err(e) => return error(e),
        }
    }
    object(StatusCode::OK, &Pins { pins })
}

pub(super) async fn rm(rest: &Rest, query: &Query) -> Reply {
    let targets = match targets(query) {
        Ok(targets) => targets,
        Err(reply) => return *reply,
    };
    let mut pins = Vec::new();
    for target in targets {
        let done = match target {
            Target::Cid(cid) => rest.backend.unpin(cid).await,
            Target::Path(path) => rest.backend.unpin_path(path).await,
        };
        match done {
            Ok((pin, _)) => pins.push(pin.spec.cid),
            Err(e) => return error(e),
        }
    }
    object(StatusCode::OK, &Pins { pins })
}

pub(super) async fn ls(rest: &Rest, query: &Query) -> Reply {
    let streamed = ["stream", "s"].iter().any(|k| query.get(k) == "true");
    let wanted = match query.get("type") {
        "" | "all" => None,
        "recursive" => Some(vec![PinMode::Recursive]),
        "direct" => Some(vec![PinMode::Direct]),
        // The cluster has no indirect pins.
        "indirect" => Some(Vec::new()),
        other => {
            return error(format_args!(
                "invalid type '{other}', must be one of {{direct, indirect, recursive, all}}"
            ));
        }
    };
    let keep = move |pin: &Pin| wanted.as_ref().is_none_or(|w| w.contains(&pin.spec.mode));
    let argument = query.get("arg");
    if !argument.is_empty() {
        return one(rest, argument, streamed).await;
    }
    let types = PinTypeFilter::parse("pin").unwrap_or(PinTypeFilter::ALL);
    let pins = rest.backend.allocations(types);
    let pins = pins
        .filter(move |pin| ready(pin.as_ref().map_or(true, &keep)))
        .boxed();
    if streamed {
        as_lines(pins).await
    } else {
        as_object(pins).await
    }
}

async fn one(rest: &Rest, argument: &str, streamed: bool) -> Reply {
    let cid = match parse_cid(argument) {
        Ok(cid) => cid,
        Err(e) => return error(e),
    };
    let mode = match rest.backend.allocation(cid).await {
        Ok(pin) => pin.spec.mode,
        Err(ClusterError::NotPinned) => {
            return error(format_args!("Error: path '{cid}' is not pinned"));
        }
        Err(e) => return error(e),
    };
    if streamed {
        return object(StatusCode::OK, &Line { cid, mode });
    }
    let keys = BTreeMap::from([(cid, Kind { mode })]);
    object(StatusCode::OK, &Keys { keys })
}

/// A line per pin.
async fn as_lines(pins: Items<Pin>) -> Reply {
    let lines = pins.map(|pin| {
        pin.map(|pin| Line {
            cid: pin.spec.cid,
            mode: pin.spec.mode,
        })
    });
    let mut lines = lines.boxed();
    let first = match lines.next().await {
        Some(Err(e)) => return error(e),
        first => stream::iter(first),
    };
    let texts = first.chain(lines).map(|line| {
        let line = line.map_err(|e| e.to_string())?;
        json::to_line(&line).map_err(|e| e.to_string())
    });
    let body = lines::body(texts.boxed(), OnSuccess::Absent);
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert(header::TRAILER, lines::TRAILER);
    reply
}

/// One object of all pins, written as it is read: it may be large.
async fn as_object(mut pins: Items<Pin>) -> Reply {
    let first = match pins.next().await {
        Some(Err(e)) => return error(e),
        first => stream::iter(first),
    };
    let entries = first.chain(pins).enumerate().map(|(n, pin)| {
        let pin = pin.map_err(|e| e.to_string())?;
        let mut text = if n == 0 { Vec::new() } else { vec![b','] };
        let kind = Kind {
            mode: pin.spec.mode,
        };
        json::append(&mut text, &pin.spec.cid).map_err(|e| e.to_string())?;
        text.push(b':');
        json::append(&mut text, &kind).map_err(|e| e.to_string())?;
        Ok(text)
    });
    let edge = |text: &str| stream::iter([Ok(text.as_bytes().to_vec())]);
    let texts = edge("{\"Keys\":{").chain(entries).chain(edge("}}"));
    let body = lines::body(texts.boxed(), OnSuccess::Absent);
    let mut reply = reply::with_body(StatusCode::OK, body);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert(header::TRAILER, lines::TRAILER);
    reply
}

pub(super) async fn update(rest: &Rest, query: &Query) -> Reply {
    let arguments: Vec<&str> = query.all("arg").take(2).collect();
    let required = |what: &str| {
        let message = format!("argument \"{what}\" is required");
        error_with(StatusCode::BAD_REQUEST, message)
    };
    let (from, to) = match arguments.as_slice() {
        [] => return required("from-path"),
        [_] => return required("to-path"),
        [from, to, ..] => (*from, *to),
    };
    let from = match resolved(rest, "from-path", from).await {
        Ok(cid) => cid,
        Err(reply) => return *reply,
    };
    let to = match resolved(rest, "to-path", to).await {
        Ok(cid) => cid,
        Err(reply) => return *reply,
    };
    let options = PinOptions {
        pin_update: Some(from),
        ..PinOptions::default()
    };
    if let Err(e) = rest.backend.pin(to, options).await {
        return error(e);
    }
    if query.get("unpin") != "false"
        && from != to
        && let Err(e) = rest.backend.unpin(from).await
    {
        return error(e);
    }
    let pins = vec![from, to];
    object(StatusCode::OK, &Pins { pins })
}

async fn resolved(rest: &Rest, what: &str, text: &str) -> Result<Cid, Box<Reply>> {
    match target(text) {
        Ok(Target::Cid(cid)) => Ok(cid),
        Ok(Target::Path(path)) => {
            let found = rest.backend.ipfs().resolve(path).await;
            found.map_err(|e| Box::new(error(e)))
        }
        Err(e) => Err(Box::new(error(format_args!(
            "error parsing \"{what}\" argument: {e}"
        )))),
    }
}
