//! Requests passed to the IPFS node and its answers passed back, both as they come.
//!
//! Nothing is collected: a slow reader on one side slows the writer on the other.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{
    api::http::reply::{BoxError, Outgoing, empty_body},
    ipfs::http::{BoxError as SentError, HttpClient},
};

/// How long the node may take to begin its answer: it does so only after a whole upload, or when
/// content has been found.
const HEAD_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Headers that belong to one connection.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Passes a request on and the answer back.
pub(super) async fn pass(client: &HttpClient, request: Request<Incoming>) -> Outgoing {
    let (mut head, body) = request.into_parts();
    strip(&mut head.headers);
    // The node is asked under its own name: it refuses others.
    head.headers.remove(header::HOST);
    let body = body.map_err(SentError::from).boxed_unsync();
    match client
        .request(Request::from_parts(head, body), HEAD_TIMEOUT)
        .await
    {
        Ok(response) => {
            let (mut head, body) = response.into_parts();
            strip(&mut head.headers);
            Response::from_parts(head, body.map_err(BoxError::from).boxed_unsync())
        }
        Err(e) => {
            tracing::warn!(target: "ipfsproxy", error = %e, "the IPFS node does not answer");
            let mut answer = Response::new(empty_body());
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    }
}

/// Removes what concerns one connection, including what `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
