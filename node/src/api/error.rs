//! The one place where errors become HTTP answers.

use http::{HeaderValue, StatusCode, header};

use super::http::reply::{self, Reply};
use crate::cluster::ClusterError;

/// The answer to a request that failed.
pub(crate) fn failed(error: ClusterError) -> Reply {
    let status = status(&error);
    if status.is_server_error() {
        tracing::debug!(target: "restapi", %status, error = %error, "a request failed");
    }
    let mut reply = reply::error(status, &error);
    let passes = !matches!(error, ClusterError::LeftBehind(_));
    if status == StatusCode::SERVICE_UNAVAILABLE && passes {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}

/// The status of a failure. What the cluster or its IPFS node refuses is 500, because clients of
/// the API know it so; only what is new here has statuses of its own.
pub(crate) fn status(error: &ClusterError) -> StatusCode {
    match error {
        ClusterError::NotPinned => StatusCode::NOT_FOUND,
        ClusterError::BadRequest(_) => StatusCode::BAD_REQUEST,
        ClusterError::OtherEpoch { .. } => StatusCode::CONFLICT,
        ClusterError::Recovering | ClusterError::TooFarBehind(_) | ClusterError::LeftBehind(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ClusterError::Invalid(_)
        | ClusterError::NoLeader
        | ClusterError::Unknown(_)
        | ClusterError::Unavailable(_)
        | ClusterError::Ipfs(_)
        | ClusterError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a request that cannot be understood.
pub(crate) fn bad_request(message: impl ToString) -> Reply {
    reply::error(StatusCode::BAD_REQUEST, message)
}
