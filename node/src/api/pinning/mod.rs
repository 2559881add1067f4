//! The Pinning Service API.

mod handlers;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use ipfs_cluster_protocol::{
    api::{
        pinning::{Failure, FailureReason},
        query::Query,
    },
    limits::JSON_BODY_BYTES_MAX,
};
use warp::{Filter, filters::BoxedFilter};

use super::{
    backend::Backend,
    http::reply::{self, Reply},
    rest::{Segment, health},
    routes::query,
};
use crate::cluster::ClusterError;

/// What handlers ask.
type Shared = Arc<dyn Backend>;

/// All routes.
pub(crate) fn routes(backend: &Shared) -> BoxedFilter<(Reply,)> {
    let with = {
        let backend = backend.clone();
        warp::any().map(move || backend.clone())
    };
    let body =
        || warp::body::content_length_limit(JSON_BODY_BYTES_MAX as u64).and(warp::body::bytes());
    let list = warp::path!("pins")
        .and(warp::get())
        .and(with.clone())
        .and(query())
        .then(|backend: Shared, query: Query| handlers::list(backend, query));
    let add = warp::path!("pins")
        .and(warp::post())
        .and(with.clone())
        .and(body())
        .then(|backend: Shared, body: Bytes| handlers::add(backend, body));
    let get = warp::path!("pins" / Segment)
        .and(warp::get())
        .and(with.clone())
        .then(|id: Segment, backend: Shared| handlers::get(backend, id));
    let replace = warp::path!("pins" / Segment)
        .and(warp::post())
        .and(with.clone())
        .and(body())
        .then(|id: Segment, backend: Shared, body: Bytes| handlers::replace(backend, id, body));
    let remove = warp::path!("pins" / Segment)
        .and(warp::delete())
        .and(with)
        .then(|id: Segment, backend: Shared| handlers::remove(backend, id));
    let live = warp::path!("health").and(warp::get()).map(health::live);
    list.or(add)
        .unify()
        .or(get)
        .unify()
        .or(replace)
        .unify()
        .or(remove)
        .unify()
        .or(live)
        .unify()
        .boxed()
}

/// The API's own error object.
pub(crate) fn error(status: StatusCode, reason: &str) -> Reply {
    let failure = Failure {
        error: FailureReason {
            reason: reason.to_owned(),
            details: String::new(),
        },
    };
    reply::json(status, &failure)
}

/// The answer to a request that failed.
fn failed(failure: &ClusterError) -> Reply {
    error(super::error::status(failure), &failure.to_string())
}
