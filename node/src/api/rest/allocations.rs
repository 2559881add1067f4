//! The pins of the state, as they were asked for and placed.

use futures::StreamExt;
use ipfs_cluster_protocol::{
    api::{pin::Pin, query::Query, status::PinTypeFilter},
    export::Exported,
};

use super::{Rest, Segment, caught_up, cid, object, stamped};
use crate::api::{
    error::{bad_request, failed},
    http::{reply::Reply, stream},
};

pub(crate) async fn list(rest: Rest, query: Query) -> Reply {
    let filter = match PinTypeFilter::parse(query.get("filter")) {
        Ok(filter) => filter,
        Err(e) => return bad_request(e),
    };
    let seen = match caught_up(&rest, &query).await {
        Ok(seen) => seen,
        Err(reply) => return *reply,
    };
    if query.get("requests") == "true" {
        let lines = rest.backend.exported(filter);
        let lines = lines.map(|line| line.map(|(pin, requests)| Exported::of(&pin, requests)));
        return stamped(stream::lines(lines.boxed(), failed).await, seen);
    }
    let pins = rest.backend.allocations(filter);
    let pins = pins.map(|pin| pin.map(|pin| Pin::from(&pin)));
    stamped(stream::lines(pins.boxed(), failed).await, seen)
}

pub(crate) async fn get(rest: Rest, segment: Segment, query: Query) -> Reply {
    let cid = match cid(&segment) {
        Ok(cid) => cid,
        Err(reply) => return *reply,
    };
    let seen = match caught_up(&rest, &query).await {
        Ok(seen) => seen,
        Err(reply) => return *reply,
    };
    let pin = rest.backend.allocation(cid).await;
    stamped(object(pin.map(|pin| Pin::from(&pin))), seen)
}
