//! Answers: what a handler returns, and the body that goes out.
//!
//! warp's own body cannot carry trailers or borrow a foreign body, so a handler puts such a body
//! into the answer's extensions, and [`into_outgoing`] swaps it in.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use ipfs_cluster_protocol::api::{error::ErrorBody, json};
use parking_lot::Mutex;
use serde::Serialize;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer.
pub(crate) type OutBody = UnsyncBoxBody<Bytes, BoxError>;
/// An answer on its way out.
pub(crate) type Outgoing = Response<OutBody>;
/// What a handler returns.
pub(crate) type Reply = warp::reply::Response;

/// A body for [`into_outgoing`] to swap in.
#[derive(Clone)]
struct Swapped(Arc<Mutex<Option<OutBody>>>);

/// JSON, as every answer of the API says it is.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn never(e: Infallible) -> BoxError {
    match e {}
}

/// An empty body.
pub(crate) fn empty_body() -> OutBody {
    Empty::new().map_err(never).boxed_unsync()
}

/// A body held in memory.
#[cfg(test)]
pub(crate) fn full_body(bytes: impl Into<Bytes>) -> OutBody {
    http_body_util::Full::new(bytes.into())
        .map_err(never)
        .boxed_unsync()
}

/// An answer with this body.
pub(crate) fn with_body(status: StatusCode, body: OutBody) -> Reply {
    let mut reply = bare(status);
    reply
        .extensions_mut()
        .insert(Swapped(Arc::new(Mutex::new(Some(body)))));
    reply
}

/// The same answer without its body, as HEAD asks for it.
pub(crate) fn without_body(reply: Reply) -> Reply {
    let (mut parts, _) = reply.into_parts();
    parts.extensions.remove::<Swapped>();
    Reply::from_parts(parts, Default::default())
}

fn bare(status: StatusCode) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = status;
    reply
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = bare(status);
    reply.headers_mut().insert(header::CONTENT_TYPE, JSON);
    reply
}

/// The answer to a method that a path does not have: without a body, and not marked as the API's.
pub(crate) fn method_not_allowed() -> Reply {
    bare(StatusCode::METHOD_NOT_ALLOWED)
}

/// One JSON value and a newline.
pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Reply {
    match json::to_line(value) {
        Ok(line) => {
            let mut reply = bare(status).map(|_| line.into());
            reply.headers_mut().insert(header::CONTENT_TYPE, JSON);
            reply
        }
        Err(e) => {
            tracing::error!(target: "restapi", error = %e, "an answer has no JSON form");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The API's error object.
pub(crate) fn error(status: StatusCode, message: impl ToString) -> Reply {
    let body = ErrorBody {
        code: status.as_u16(),
        message: message.to_string(),
    };
    json(status, &body)
}

/// The answer as it goes out.
pub(crate) fn into_outgoing(reply: Reply) -> Outgoing {
    let (mut parts, body) = reply.into_parts();
    let swapped = parts.extensions.remove::<Swapped>();
    let body = match swapped.and_then(|s| s.0.lock().take()) {
        Some(body) => body,
        None => body.map_err(BoxError::from).boxed_unsync(),
    };
    Response::from_parts(parts, body)
}
