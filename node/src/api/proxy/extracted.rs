//! Headers of the IPFS node for answers that the cluster gives in its place, so that pages in a
//! browser see no difference.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{ProxiedNode, ProxyConfig, cors};
use crate::ipfs::http::{HttpClient, empty};

/// How long the node may take; it is asked for headers alone.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Asked of the node for each request.
const PER_REQUEST: [HeaderName; 3] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::VARY,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
];

/// Knows the node's headers.
pub(super) struct Extracted {
    client: Option<HttpClient>,
    names: Vec<HeaderName>,
    path: String,
    ttl: Duration,
    cached: Arc<Mutex<Option<(Instant, Headers)>>>,
}

type Headers = Vec<(HeaderName, HeaderValue)>;

impl Extracted {
    pub(super) fn new(config: &ProxyConfig) -> Self {
        let mut names = vec![header::ACCESS_CONTROL_EXPOSE_HEADERS];
        names.extend(config.extract_headers.iter().cloned());
        Self {
            client: match &config.node {
                ProxiedNode::Http(client) => Some(client.clone()),
                ProxiedNode::Embedded => None,
            },
            names,
            path: config.extract_path.clone(),
            ttl: config.extract_ttl,
            cached: Arc::default(),
        }
    }

    /// What the node would put on its answer to this request; nothing of a node that is down.
    pub(super) async fn headers<B>(&self, request: &Request<B>) -> Headers {
        let Some(client) = &self.client else {
            return cors::headers(request.headers());
        };
        let mut found = self.constant(client).await;
        found.extend(preflight(client, request).await);
        found
    }

    /// Headers that are the same on all answers.
    async fn constant(&self, client: &HttpClient) -> Headers {
        let kept = self.cached.lock().clone();
        if let Some((at, headers)) = kept
            && (self.ttl.is_zero() || at.elapsed() < self.ttl)
        {
            return headers;
        }
        let request = Request::post(self.path.as_str());
        let Some(answer) = ask(client, request).await else {
            return Vec::new();
        };
        let headers = pick(&answer, &self.names);
        *self.cached.lock() = Some((Instant::now(), headers.clone()));
        headers
    }
}

/// What the node says to a page of this origin.
async fn preflight<B>(client: &HttpClient, request: &Request<B>) -> Headers {
    let mut ask_for = Request::builder()
        .method(Method::OPTIONS)
        .uri(request.uri().path());
    for name in [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD] {
        if let Some(value) = request.headers().get(&name) {
            ask_for = ask_for.header(name, value);
        }
    }
    match ask(client, ask_for).await {
        Some(answer) => pick(&answer, &PER_REQUEST),
        None => Vec::new(),
    }
}

async fn ask(client: &HttpClient, request: http::request::Builder) -> Option<HeaderMap> {
    let request = request.body(empty()).ok()?;
    let answer = client.request(request, TIMEOUT).await.ok()?;
    Some(answer.into_parts().0.headers)
}

fn pick(from: &HeaderMap, names: &[HeaderName]) -> Headers {
    let found = names.iter().filter_map(|name| {
        let value = from.get(name)?;
        Some((name.clone(), value.clone()))
    });
    found.collect()
}
