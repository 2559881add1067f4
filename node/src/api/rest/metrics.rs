//! `GET /metrics`: what Prometheus collects.

use http::{HeaderValue, StatusCode, header};
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::api::http::reply::{self, Reply};

pub(crate) fn exposition(registry: &Registry) -> Reply {
    let mut text = String::new();
    if encode(&mut text, registry).is_err() {
        return reply::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "cannot print the metrics",
        );
    }
    let mut reply = Reply::default().map(|_| text.into());
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    reply
}
