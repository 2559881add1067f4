//! Whether this peer lives, whom it sees, and what is amiss.

use http::StatusCode;

use super::{Rest, Segment, object};
use crate::api::http::reply::{self, Reply};

pub(crate) fn live() -> Reply {
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn graph(rest: Rest) -> Reply {
    reply::json(StatusCode::OK, &rest.backend.graph().await)
}

pub(crate) fn alerts(rest: &Rest) -> Reply {
    reply::json(StatusCode::OK, &rest.backend.alerts())
}

pub(crate) fn bandwidth(rest: &Rest) -> Reply {
    reply::json(StatusCode::OK, &rest.backend.bandwidth())
}

pub(crate) fn metric(rest: &Rest, name: &Segment) -> Reply {
    reply::json(StatusCode::OK, &rest.backend.metrics(&name.0))
}

pub(crate) fn metric_names(rest: &Rest) -> Reply {
    reply::json(StatusCode::OK, &rest.backend.metric_names())
}

pub(crate) async fn repair(rest: Rest) -> Reply {
    object(rest.backend.repair().await)
}
