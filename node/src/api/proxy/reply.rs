//! Answers in the shapes of the IPFS node's API: no newline after a single object, errors as
//! `{"Message", "Code", "Type"}`.

use http::{HeaderValue, StatusCode, header};
use ipfs_cluster_protocol::api::json;
use serde::Serialize;

use crate::api::http::reply::{self, Reply};

/// What the proxy calls itself.
pub(super) const SERVER: HeaderValue = HeaderValue::from_static("ipfs-cluster/ipfsproxy/1.1.6");

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "Message")]
    message: &'a str,
    #[serde(rename = "Code")]
    code: u32,
    #[serde(rename = "Type")]
    kind: &'static str,
}

/// One object.
pub(in crate::api) fn object<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    match json::to_vec(value) {
        Ok(bytes) => {
            let mut reply = Reply::default().map(|_| bytes.into());
            *reply.status_mut() = status;
            reply
                .headers_mut()
                .insert(header::CONTENT_TYPE, reply::JSON);
            reply
        }
        Err(e) => {
            tracing::error!(target: "ipfsproxy", error = %e, "an answer has no JSON form");
            reply::empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// A failure.
pub(in crate::api) fn error(message: impl ToString) -> Reply {
    error_with(StatusCode::INTERNAL_SERVER_ERROR, message)
}

/// A failure with another status.
pub(in crate::api) fn error_with(status: StatusCode, message: impl ToString) -> Reply {
    let body = ErrorBody {
        message: &message.to_string(),
        code: 0,
        kind: "error",
    };
    object(status, &body)
}
