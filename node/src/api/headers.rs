//! Headers that many answers share: configured ones, CORS, the log position of writes and reads.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use ipfs_cluster_protocol::{
    api::query::Query,
    id::{Epoch, LogIndex},
};

use super::{
    backend::{Commit, ReadAt},
    http::reply::{self, Reply},
};

const INDEX: HeaderName = HeaderName::from_static("x-cluster-index");
const EPOCH: HeaderName = HeaderName::from_static("x-cluster-epoch");
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const YES: HeaderValue = HeaderValue::from_static("true");

/// How long a read waits for the index it asks for.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Says where in the log a write is, or up to where a read has seen it.
pub(crate) fn stamp(reply: &mut Reply, commit: Commit) {
    let headers = reply.headers_mut();
    headers.insert(INDEX, HeaderValue::from(commit.index.0));
    headers.insert(EPOCH, HeaderValue::from(commit.epoch.0));
}

/// What a read asks for with `min-index` (and `epoch`) or `consistency=linearizable`.
pub(crate) fn read_at(query: &Query) -> Result<Option<ReadAt>, &'static str> {
    let number = |key, error| match query.get(key) {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| error),
    };
    let index = number("min-index", "parameter min-index invalid")?;
    let epoch = number("epoch", "parameter epoch invalid")?;
    match (query.get("consistency"), index) {
        ("linearizable", _) => Ok(Some(ReadAt::Latest)),
        ("" | "local", Some(index)) => Ok(Some(ReadAt::Index(LogIndex(index), epoch.map(Epoch)))),
        ("" | "local", None) => Ok(None),
        _ => Err("parameter consistency invalid"),
    }
}

/// Which pages of other sites may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins, `*` for any.
    pub origins: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Request headers, `*` for any.
    pub headers: Vec<String>,
    /// Response headers that pages may read.
    pub exposed: Vec<String>,
    /// Whether credentials may come along.
    pub credentials: bool,
    /// How long a preflight holds.
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Self {
            origins: own(&["*"]),
            methods: own(&["GET"]),
            headers: Vec::new(),
            exposed: own(&[
                "Content-Type",
                "X-Stream-Output",
                "X-Chunked-Output",
                "X-Content-Length",
            ]),
            credentials: true,
            max_age: Duration::ZERO,
        }
    }
}

impl Cors {
    /// What a page of this origin is told, if it may do this.
    fn allowed_origin(&self, origin: &HeaderValue, method: &str) -> Option<HeaderValue> {
        if !self.methods.iter().any(|m| m.eq_ignore_ascii_case(method)) {
            return None;
        }
        if self.origins.iter().any(|o| o == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let listed = self
            .origins
            .iter()
            .any(|o| o.as_bytes() == origin.as_bytes());
        listed.then(|| origin.clone())
    }

    /// The answer to a preflight, if the request is one.
    pub(crate) fn preflight(&self, method: &Method, request: &HeaderMap) -> Option<Reply> {
        if method != Method::OPTIONS {
            return None;
        }
        let origin = request.get(header::ORIGIN)?;
        let wanted = request.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut reply = Reply::default();
        *reply.status_mut() = StatusCode::NO_CONTENT;
        let headers = reply.headers_mut();
        headers.insert(
            header::VARY,
            HeaderValue::from_static(
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
        );
        let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let origin = self.allowed_origin(origin, wanted.to_str().unwrap_or_default());
        let Some(origin) = origin.filter(|_| asked.is_none_or(|a| self.allows_headers(a))) else {
            return Some(reply);
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
        }
        if let Some(asked) = asked {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        if !self.max_age.is_zero() {
            let seconds = HeaderValue::from(self.max_age.as_secs());
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, seconds);
        }
        Some(reply)
    }

    fn allows_headers(&self, asked: &HeaderValue) -> bool {
        let Ok(asked) = asked.to_str() else {
            return false;
        };
        asked.split(',').map(str::trim).all(|name| {
            let same = |h: &String| h == "*" || h.eq_ignore_ascii_case(name);
            name.is_empty() || self.headers.iter().any(same)
        })
    }

    /// Headers of an answer to anything but a preflight.
    pub(crate) fn apply(&self, method: &Method, origin: Option<&HeaderValue>, to: &mut HeaderMap) {
        to.append(header::VARY, ORIGIN);
        let allowed = origin.and_then(|o| self.allowed_origin(o, method.as_str()));
        let Some(allowed) = allowed else { return };
        to.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            to.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
        }
        if let Ok(exposed) = HeaderValue::from_str(&self.exposed.join(", "))
            && !exposed.is_empty()
        {
            to.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

/// Whether the configured headers go on an answer: on those with the API's content type.
pub(crate) fn is_api_answer(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE) == Some(&reply::JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(k, v)| (k.clone(), v.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_preflight_is_answered_and_allows_what_is_configured() {
        let cors = Cors::default();
        let ask = |method: &str, headers: &str| {
            let mut pairs = vec![
                (header::ORIGIN, "http://a.example"),
                (header::ACCESS_CONTROL_REQUEST_METHOD, method),
            ];
            if !headers.is_empty() {
                pairs.push((header::ACCESS_CONTROL_REQUEST_HEADERS, headers));
            }
            cors.preflight(&Method::OPTIONS, &request(&pairs)).unwrap()
        };
        let allowed = ask("GET", "");
        assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
        assert_eq!(allowed.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(
            allowed.headers()[header::ACCESS_CONTROL_ALLOW_METHODS],
            "GET"
        );
        for refused in [ask("POST", ""), ask("GET", "authorization")] {
            assert_eq!(refused.headers().len(), 1);
        }
        assert!(
            cors.preflight(&Method::OPTIONS, &HeaderMap::new())
                .is_none()
        );
    }

    #[test]
    fn a_foreign_page_is_told_only_what_it_may_know() {
        let origin = HeaderValue::from_static("http://a.example");
        let headers = |cors: &Cors, method: Method| {
            let mut headers = HeaderMap::new();
            cors.apply(&method, Some(&origin), &mut headers);
            headers
        };
        let default = Cors::default();
        assert_eq!(
            headers(&default, Method::GET)[header::ACCESS_CONTROL_ALLOW_ORIGIN],
            "*"
        );
        assert_eq!(headers(&default, Method::POST).len(), 1);
        let own = Cors {
            origins: vec!["http://a.example".to_owned()],
            ..Cors::default()
        };
        assert_eq!(
            headers(&own, Method::GET)[header::ACCESS_CONTROL_ALLOW_ORIGIN],
            origin
        );
        let other = Cors {
            origins: vec!["http://b.example".to_owned()],
            ..Cors::default()
        };
        assert_eq!(headers(&other, Method::GET).len(), 1);
    }

    #[test]
    fn reads_say_what_they_must_have_seen() {
        let read = |text: &str| read_at(&Query::parse(text));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("consistency=linearizable"), Ok(Some(ReadAt::Latest)));
        assert_eq!(
            read("min-index=7"),
            Ok(Some(ReadAt::Index(LogIndex(7), None)))
        );
        assert_eq!(
            read("min-index=7&epoch=2"),
            Ok(Some(ReadAt::Index(LogIndex(7), Some(Epoch(2)))))
        );
        assert!(read("min-index=x").is_err());
        assert!(read("consistency=strong").is_err());
    }
}
