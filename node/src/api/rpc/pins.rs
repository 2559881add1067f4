//! `pin/add`, `pin/rm`, `pin/update` on the node's own pins, in Kubo's shapes.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use http::StatusCode;
use ipfs_cluster_protocol::{api::query::Query, id::Cid, pin::PinMode};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    api::{
        http::reply::Reply,
        proxy::{
            reading::{arguments, lines_of, path},
            reply::object,
            uploaded::refused,
        },
    },
    ipfs::{IpfsError, PinProgress, PinRequest, SharedIpfs},
};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(500);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pins {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pins: Vec<Cid>,
    #[serde(skip_serializing_if = "is_none")]
    progress: u64,
    #[serde(skip_serializing_if = "is_none")]
    bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

impl Pins {
    fn done(pins: Vec<Cid>) -> Self {
        Self {
            pins,
            progress: 0,
            bytes: 0,
        }
    }

    fn far(progress: PinProgress) -> Self {
        Self {
            pins: Vec::new(),
            progress: progress.blocks,
            bytes: progress.bytes,
        }
    }
}

/// What the arguments name, in order.
pub(super) async fn named(node: &SharedIpfs, query: &Query) -> Result<Vec<Cid>, IpfsError> {
    let mut found = Vec::new();
    for argument in arguments(query)? {
        found.push(node.resolve(path(argument)?).await?);
    }
    Ok(found)
}

/// The same of a call that needs one.
async fn some_named(node: &SharedIpfs, query: &Query) -> Result<Vec<Cid>, IpfsError> {
    let found = named(node, query).await?;
    if found.is_empty() {
        return Err(refused("argument \"ipfs-path\" is required"));
    }
    Ok(found)
}

/// Pins that are being fetched.
struct Pinning {
    work: BoxFuture<'static, Result<(), IpfsError>>,
    progress: Arc<Mutex<PinProgress>>,
    ticks: Interval,
    pins: Vec<Cid>,
}

impl Pinning {
    fn new(node: &SharedIpfs, pins: Vec<Cid>, mode: PinMode, name: &str) -> Self {
        let progress = Arc::new(Mutex::new(PinProgress::default()));
        let (node, told) = (node.clone(), progress.clone());
        let requests: Vec<_> = pins
            .iter()
            .map(|cid| PinRequest::new(*cid, mode, name))
            .collect();
        let work = async move {
            for request in requests {
                let told = told.clone();
                let tell = move |far| *told.lock() = far;
                node.pin(request, Box::new(tell)).await?;
            }
            Ok(())
        };
        let mut ticks = interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            work: Box::pin(work),
            progress,
            ticks,
            pins,
        }
    }

    /// The next line, and whether it is the last.
    async fn line(&mut self) -> (Result<Pins, IpfsError>, bool) {
        tokio::select! {
            biased;
            done = &mut self.work => {
                (done.map(|()| Pins::done(std::mem::take(&mut self.pins))), true)
            }
            _ = self.ticks.tick() => (Ok(Pins::far(*self.progress.lock())), false),
        }
    }
}

pub(super) async fn add(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let pins = some_named(node, query).await?;
    let mode = match (query.get("type"), query.get("recursive")) {
        ("direct", _) | (_, "false") => PinMode::Direct,
        _ => PinMode::Recursive,
    };
    let pinning = Pinning::new(node, pins, mode, query.get("name"));
    if query.get("progress") != "true" {
        pinning.work.await?;
        return Ok(object(StatusCode::OK, &Pins::done(pinning.pins)));
    }
    let lines = stream::unfold(Some(pinning), |pinning| async move {
        let mut pinning = pinning?;
        let (line, last) = pinning.line().await;
        Some((line, Some(pinning).filter(|_| !last)))
    });
    Ok(lines_of(lines.boxed()))
}

pub(super) async fn rm(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let pins = some_named(node, query).await?;
    for cid in &pins {
        node.unpin(*cid).await?;
    }
    Ok(object(StatusCode::OK, &Pins::done(pins)))
}

/// Pins the second in the place of the first, which stays with `unpin=false`.
pub(super) async fn update(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let [from, to] = named(node, query).await?[..] else {
        return Err(refused("two arguments are required: from-path and to-path"));
    };
    if node.pin_mode(from).await? != Some(PinMode::Recursive) {
        return Err(refused("'from' cid was not recursively pinned already"));
    }
    let request = PinRequest {
        update_from: Some(from),
        ..PinRequest::new(to, PinMode::Recursive, "")
    };
    node.pin(request, Box::new(|_| ())).await?;
    if query.get("unpin") != "false" && from != to {
        node.unpin(from).await?;
    }
    Ok(object(StatusCode::OK, &Pins::done(vec![from, to])))
}
