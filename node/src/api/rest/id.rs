//! `GET /id`, `GET /version`.

use http::StatusCode;
use ipfs_cluster_protocol::api::id::Version;

use super::Rest;
use crate::api::http::reply::{self, Reply};

pub(crate) async fn id(rest: Rest) -> Reply {
    reply::json(StatusCode::OK, &rest.backend.id().await)
}

pub(crate) fn version() -> Reply {
    reply::json(StatusCode::OK, &Version::default())
}
