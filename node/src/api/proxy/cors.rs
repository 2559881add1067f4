//! Pages in a browser on the embedded IPFS node, as Kubo has it: those of this machine may call,
//! others may not.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::api::http::reply::Reply;

const EXPOSED: HeaderValue =
    HeaderValue::from_static("X-Stream-Output, X-Chunked-Output, X-Content-Length");
const VARY: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// The page's origin, if it is one of this machine's.
fn own(headers: &HeaderMap) -> Option<&HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let uri: Uri = origin.to_str().ok()?.parse().ok()?;
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&uri.host()?);
    here.then_some(origin)
}

/// The refusal of a call of a page of elsewhere.
pub(in crate::api) fn refuse(headers: &HeaderMap) -> Option<Reply> {
    if !headers.contains_key(header::ORIGIN) || own(headers).is_some() {
        return None;
    }
    let mut reply = Reply::default().map(|_| "403 - Forbidden\n".into());
    *reply.status_mut() = StatusCode::FORBIDDEN;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, plain);
    Some(reply)
}

/// The answer to a preflight, if the request is one.
pub(in crate::api) fn preflight(method: &Method, request: &HeaderMap) -> Option<Reply> {
    let wanted = request.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = own(request).filter(|_| method == Method::OPTIONS)?;
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(header::VARY, VARY);
    if wanted == "POST" {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
    }
    Some(reply)
}

/// What an answer to this request says to the page that sent it.
pub(in crate::api) fn headers(request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut found = vec![
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        (header::VARY, VARY),
    ];
    if let Some(origin) = own(request) {
        found.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(
            header::ACCESS_CONTROL_REQUEST_METHOD,
            "POST".parse().unwrap(),
        );
        headers
    }

    #[test]
    fn pages_of_this_machine_may_and_others_may_not() {
        let here = from("http://localhost:5001");
        assert!(refuse(&here).is_none());
        let reply = preflight(&Method::OPTIONS, &here).unwrap();
        assert_eq!(reply.status(), 204);
        assert_eq!(
            reply.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN],
            "http://localhost:5001"
        );
        assert_eq!(headers(&here).len(), 3);
        for origin in [
            "http://evil.example",
            "http://localhost.evil.example",
            "null",
            "\t",
        ] {
            let there = from(origin);
            assert_eq!(refuse(&there).unwrap().status(), 403, "{origin}");
            assert_eq!(headers(&there).len(), 2);
        }
        assert!(refuse(&HeaderMap::new()).is_none());
    }
}
