//! Parse, ask the backend, print.

use bytes::Bytes;
use http::StatusCode;
use ipfs_cluster_protocol::{
    api::{
        pinning::{Filter, PinStatus, Wanted, parse_key},
        query::Query,
    },
    request::RequestKey,
};

use super::{Shared, error, failed};
use crate::{
    api::{
        http::reply::{self, Reply},
        rest::Segment,
    },
    cluster::ClusterError,
};

pub(super) async fn list(backend: Shared, query: Query) -> Reply {
    let filter = match Filter::from_query(&query) {
        Ok(filter) => filter,
        Err(e) => return error(StatusCode::BAD_REQUEST, &e.to_string()),
    };
    match backend.requests(filter).await {
        Ok(results) => reply::json(StatusCode::OK, &results),
        Err(e) => failed(&e),
    }
}

pub(super) async fn add(backend: Shared, body: Bytes) -> Reply {
    match wanted(&body) {
        Ok(wanted) => accepted(backend.request(wanted, None).await),
        Err(reply) => *reply,
    }
}

pub(super) async fn replace(backend: Shared, id: Segment, body: Bytes) -> Reply {
    let key = match key(&id) {
        Ok(key) => key,
        Err(reply) => return *reply,
    };
    match wanted(&body) {
        Ok(wanted) => accepted(backend.request(wanted, Some(key)).await),
        Err(reply) => *reply,
    }
}

pub(super) async fn get(backend: Shared, id: Segment) -> Reply {
    let key = match key(&id) {
        Ok(key) => key,
        Err(reply) => return *reply,
    };
    match backend.requested(key).await {
        Ok(status) => reply::json(StatusCode::OK, &status),
        Err(ClusterError::NotPinned) => error(StatusCode::NOT_FOUND, "pin not found"),
        Err(e) => failed(&e),
    }
}

pub(super) async fn remove(backend: Shared, id: Segment) -> Reply {
    let key = match key(&id) {
        Ok(key) => key,
        Err(reply) => return *reply,
    };
    match backend.withdraw(key).await {
        Ok(()) => reply::empty(StatusCode::ACCEPTED),
        Err(e) => failed(&e),
    }
}

fn accepted(result: Result<PinStatus, ClusterError>) -> Reply {
    match result {
        Ok(status) => reply::json(StatusCode::ACCEPTED, &status),
        Err(e) => failed(&e),
    }
}

fn wanted(body: &[u8]) -> Result<Wanted, Box<Reply>> {
    Wanted::parse(body).map_err(|e| {
        let text = format!("error decoding request body: {e}");
        Box::new(error(StatusCode::BAD_REQUEST, &text))
    })
}

fn key(id: &Segment) -> Result<RequestKey, Box<Reply>> {
    parse_key(&id.0).map_err(|e| {
        let text = format!("error decoding requestID: {e}");
        Box::new(error(StatusCode::BAD_REQUEST, &text))
    })
}
