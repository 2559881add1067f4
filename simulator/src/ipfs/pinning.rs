//! Pins of the simulated Kubo: `pin/add` tells its progress every half second.

use std::{sync::Arc, time::Duration};

use http::Response;
use ipfs_cluster_node::ipfs::{
    IpfsError, IpfsNode as _, PinProgress, PinRequest, embedded::Embedded,
};
use ipfs_cluster_protocol::{api::query::Query, id::Cid, pin::PinMode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    answer::{self, Body, Lines},
    routes::{FULL, cid, listed},
};

/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Said of a CID with no pin of its own.
const NOT_PINNED: &str = "not pinned or pinned indirectly";

fn mode(query: &Query) -> PinMode {
    match (query.get("recursive"), query.get("type")) {
        ("false", _) | (_, "direct") => PinMode::Direct,
        _ => PinMode::Recursive,
    }
}

/// `pin/add`.
pub(super) fn add(node: Arc<Embedded>, query: &Query, room: bool) -> Response<Body> {
    let cid = match cid(query.get("arg")) {
        Ok(cid) => cid,
        Err(refused) => return *refused,
    };
    let (mut lines, response) = answer::lines();
    let request = PinRequest::new(cid, mode(query), query.get("name"));
    let tells = query.get("progress") == "true";
    tokio::spawn(async move {
        if !room {
            return lines.fail(&format!("pin: {FULL}")).await;
        }
        match follow(&node, request, &mut lines, tells).await {
            Some(Ok(())) => {
                lines.send(&json!({"Pins": [cid.to_string()]})).await;
            }
            Some(Err(error)) => lines.fail(&format!("pin: {error}")).await,
            None => {}
        }
    });
    response
}

/// Pins, with a line every half second; none when the client has gone, and with it the pin.
async fn follow(
    node: &Embedded,
    request: PinRequest,
    lines: &mut Lines,
    tells: bool,
) -> Option<Result<(), IpfsError>> {
    let (tell, told) = watch::channel(None);
    let progress = Box::new(move |seen: PinProgress| {
        tell.send_replace(Some(seen));
    });
    let mut pinning = node.pin(request, progress);
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TELL_EVERY, TELL_EVERY);
    loop {
        tokio::select! {
            biased;
            done = &mut pinning => {
                let last = told.borrow().filter(|_| tells && done.is_ok());
                if let Some(seen) = last
                    && !lines.send(&line(seen)).await
                {
                    return None;
                }
                return Some(done);
            }
            _ = tick.tick(), if tells => {
                let seen = *told.borrow();
                let next = match seen {
                    None => json!({}),
                    Some(seen) => line(seen),
                };
                if !lines.send(&next).await {
                    return None;
                }
            }
        }
    }
}

fn line(seen: PinProgress) -> Value {
    json!({"Progress": seen.blocks, "Bytes": seen.bytes})
}

/// `pin/rm`.
pub(super) async fn rm(node: &Embedded, query: &Query) -> Response<Body> {
    let cid = match cid(query.get("arg")) {
        Ok(cid) => cid,
        Err(refused) => return *refused,
    };
    match node.unpin(cid).await {
        Ok(()) => answer::object(&json!({"Pins": [cid.to_string()]})),
        Err(IpfsError::NotPinned) => answer::error(NOT_PINNED),
        Err(error) => answer::error(&error.to_string()),
    }
}

/// `pin/ls`, streamed or not, of one CID or of all.
pub(super) async fn ls(node: &Embedded, query: &Query) -> Response<Body> {
    let mode = mode(query);
    let found = if query.get("arg").is_empty() {
        listed(node, mode).await
    } else {
        let cid = match cid(query.get("arg")) {
            Ok(cid) => cid,
            Err(refused) => return *refused,
        };
        match node.pin_mode(cid).await {
            Ok(Some(m)) if m == mode => Ok(vec![cid]),
            Ok(_) => return answer::error(&format!("path '{cid}' is not pinned")),
            Err(error) => Err(error),
        }
    };
    match found {
        Ok(pins) => list(&pins, mode, query.get("stream") == "true"),
        Err(error) => answer::error(&error.to_string()),
    }
}

fn list(pins: &[Cid], mode: PinMode, streamed: bool) -> Response<Body> {
    let kind = mode.to_string();
    if !streamed {
        let entry = |cid: &Cid| (cid.to_string(), json!({"Type": kind, "Name": ""}));
        let keys: serde_json::Map<String, Value> = pins.iter().map(entry).collect();
        return answer::object(&json!({ "Keys": keys }));
    }
    let shown: Vec<Value> = pins
        .iter()
        .map(|cid| json!({"Cid": cid.to_string(), "Type": kind}))
        .collect();
    let (mut lines, response) = answer::lines();
    tokio::spawn(async move {
        for line in &shown {
            if !lines.send(line).await {
                return;
            }
        }
    });
    response
}

/// `pin/update`.
pub(super) async fn update(node: &Embedded, query: &Query) -> Response<Body> {
    let args: Vec<&str> = query
        .pairs()
        .filter(|(key, _)| *key == "arg")
        .map(|(_, value)| value)
        .collect();
    let (Some(Ok(from)), Some(Ok(to))) = (
        args.first().map(|text| cid(text)),
        args.get(1).map(|text| cid(text)),
    ) else {
        return answer::error("pin/update takes two paths");
    };
    if !matches!(node.pin_mode(from).await, Ok(Some(PinMode::Recursive))) {
        return answer::error("'from' cid was not recursively pinned already");
    }
    let request = PinRequest::new(to, PinMode::Recursive, "");
    let mut done = node.pin(request, Box::new(|_| {})).await;
    if done.is_ok() && query.get("unpin") != "false" {
        done = node.unpin(from).await;
    }
    match done {
        Ok(()) => answer::object(&json!({"Pins": [from.to_string(), to.to_string()]})),
        Err(error) => answer::error(&error.to_string()),
    }
}
