//! The REST API as a site: log, authenticate, CORS, redirect, route, in this order.

use std::{sync::Arc, time::Instant};

use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use warp::filters::BoxedFilter;

use super::{
    auth::Credentials,
    headers::{Cors, is_api_answer},
    http::{
        reply::{self, Outgoing, Reply},
        server::{Client, Site},
    },
    routing,
};

/// The REST API.
pub(crate) struct RestSite {
    pub(crate) routes: BoxedFilter<(Reply,)>,
    pub(crate) credentials: Credentials,
    pub(crate) cors: Cors,
    /// Put on every answer of the API; a name may come more than once.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What an answer depends on besides the route.
struct Head {
    method: Method,
    uri: Uri,
    origin: Option<HeaderValue>,
}

impl Site for RestSite {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: Client,
    ) -> BoxFuture<'static, Outgoing> {
        async move {
            let begun = Instant::now();
            let head = Head {
                method: request.method().clone(),
                uri: request.uri().clone(),
                origin: request.headers().get(header::ORIGIN).cloned(),
            };
            let reply = self.reply(&head, request).await;
            let status = reply.status().as_u16();
            tracing::info!(
                target: "restapilog",
                client = %from, method = %head.method, path = %head.uri, status,
                ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            );
            reply::into_outgoing(reply)
        }
        .boxed()
    }
}

impl RestSite {
    async fn reply(&self, head: &Head, request: Request<Incoming>) -> Reply {
        let path = head.uri.path();
        let refused = self
            .credentials
            .refuse(&head.method, path, request.headers());
        if let Some(mut refused) = refused {
            self.configured(refused.headers_mut());
            return refused;
        }
        if let Some(preflight) = self.cors.preflight(&head.method, request.headers()) {
            return preflight;
        }
        let mut reply = match routing::redirect(&head.method, &head.uri) {
            Some(redirect) => redirect,
            None => self.route(head, request).await,
        };
        let headers = reply.headers_mut();
        self.cors.apply(&head.method, head.origin.as_ref(), headers);
        if is_api_answer(headers) {
            self.configured(headers);
        }
        reply
    }

    async fn route(&self, head: &Head, request: Request<Incoming>) -> Reply {
        let service = TowerToHyperService::new(warp::service(self.routes.clone()));
        let reply = service
            .call(request)
            .unwrap_or_else(|never| match never {})
            .await;
        // Handlers name a content type or have no body; what has neither was a rejection.
        match reply.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
                if !is_api_answer(reply.headers()) =>
            {
                routing::unmatched(&head.method, head.uri.path())
            }
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::LENGTH_REQUIRED => {
                reply::error(StatusCode::BAD_REQUEST, "error decoding request body")
            }
            _ => reply,
        }
    }

    fn configured(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
    }
}
