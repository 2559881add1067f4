//! The shapes of Kubo's answers.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, channel::Channel, combinators::UnsyncBoxBody};
use serde_json::{Value, json};

/// Body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Tells that a streamed answer failed after its head was sent.
const STREAM_ERROR: &str = "x-stream-error";
/// Pieces of a streamed answer that wait to be sent.
const PIECES_AHEAD: usize = 16;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::SERVER, HeaderValue::from_static("kubo/0.44.0-dev"));
    headers.insert(header::TRAILER, HeaderValue::from_static("X-Stream-Error"));
    response
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

/// One object.
pub(super) fn object(value: &Value) -> Response<Body> {
    response(StatusCode::OK, "application/json", full(line(value)))
}

/// Bytes.
pub(super) fn bytes(data: Bytes) -> Response<Body> {
    response(StatusCode::OK, "application/vnd.ipld.raw", full(data))
}

/// The command failed.
pub(super) fn error(message: &str) -> Response<Body> {
    let body = json!({"Message": message, "Code": 0, "Type": "error"});
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    response(status, "application/json", full(line(&body)))
}

/// The request makes no sense.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let kind = "text/plain; charset=utf-8";
    response(status, kind, full(format!("{text}\n")))
}

/// What a damaged node says: half an object.
pub(super) fn corrupt() -> Response<Body> {
    let half = &b"{\"Version\":\"0.44.0-d"[..];
    response(StatusCode::OK, "application/json", full(half))
}

/// The writing end of a streamed answer.
pub(super) struct Lines(http_body_util::channel::Sender<Bytes, io::Error>);

/// A streamed answer and where to write it.
pub(super) fn lines() -> (Lines, Response<Body>) {
    let (sender, body) = Channel::new(PIECES_AHEAD);
    let body = body.boxed_unsync();
    let response = response(StatusCode::OK, "application/json", body);
    (Lines(sender), response)
}

impl Lines {
    /// Sends a line; false when nobody listens any more.
    pub(super) async fn send(&mut self, value: &Value) -> bool {
        self.0.send_data(line(value)).await.is_ok()
    }

    /// Ends the answer with an error.
    pub(super) async fn fail(mut self, message: &str) {
        let mut trailers = HeaderMap::new();
        if let Ok(text) = HeaderValue::from_str(message) {
            trailers.insert(STREAM_ERROR, text);
        }
        // Nobody listens any more when the client has given up.
        let _ = self.0.send_trailers(trailers).await;
    }
}
