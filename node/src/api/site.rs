//! An API as a site: log, authenticate, CORS, redirect, route, in this order.

use std::{sync::Arc, time::Instant};

use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use warp::filters::BoxedFilter;

use super::{
    auth::{Credentials, Refused},
    headers::{Cors, is_api_answer},
    http::{
        access_log::AccessLog,
        reply::{self, Outgoing, Reply},
        server::{Client, Site},
    },
    rest::now,
    routing,
};

/// An API that users log in to.
pub(crate) struct ApiSite {
    pub(crate) routes: BoxedFilter<(Reply,)>,
    /// Its routes, to tell an unknown path from a wrong method.
    pub(crate) table: routing::Table,
    /// How it says that a request failed.
    pub(crate) error: fn(StatusCode, &str) -> Reply,
    pub(crate) credentials: Credentials,
    pub(crate) cors: Cors,
    /// Put on every answer of the API; a name may come more than once.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) log: AccessLog,
}

/// What an answer depends on besides the route.
struct Head {
    method: Method,
    uri: Uri,
    origin: Option<HeaderValue>,
}

#[derive(Serialize)]
struct Token {
    token: String,
}

impl Site for ApiSite {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: Client,
    ) -> BoxFuture<'static, Outgoing> {
        async move {
            let entry = self.log.begin(&request, from, Instant::now());
            let head = Head {
                method: request.method().clone(),
                uri: request.uri().clone(),
                origin: request.headers().get(header::ORIGIN).cloned(),
            };
            let (reply, user) = self.reply(&head, request).await;
            entry.answered(reply::into_outgoing(reply), user)
        }
        .boxed()
    }
}

impl ApiSite {
    /// The answer, and whose request it was.
    async fn reply(&self, head: &Head, request: Request<Incoming>) -> (Reply, Option<String>) {
        let path = head.uri.path();
        let seconds = now().0 / 1000;
        let judged = self
            .credentials
            .judge(&head.method, path, request.headers(), seconds);
        let user = match judged {
            Ok(user) => user,
            Err(refused) => return (self.refusal(&refused), None),
        };
        if let Some(preflight) = self.cors.preflight(&head.method, request.headers()) {
            return (preflight, user);
        }
        let mut reply = match routing::redirect(&head.method, &head.uri) {
            Some(redirect) => redirect,
            None if head.method == Method::POST && path == "/token" => self.token(user.as_deref()),
            None => self.route(head, request).await,
        };
        let headers = reply.headers_mut();
        self.cors.apply(&head.method, head.origin.as_ref(), headers);
        if is_api_answer(headers) {
            self.configured(headers);
        }
        (reply, user)
    }

    fn refusal(&self, refused: &Refused) -> Reply {
        let mut reply = (self.error)(StatusCode::UNAUTHORIZED, refused.message);
        let headers = reply.headers_mut();
        for challenge in &refused.challenges {
            headers.append(header::WWW_AUTHENTICATE, challenge.clone());
        }
        self.configured(headers);
        reply
    }

    /// `POST /token`: a token for who is logged in.
    fn token(&self, user: Option<&str>) -> Reply {
        match user.and_then(|user| self.credentials.token(user)) {
            Some(token) => reply::json(StatusCode::OK, &Token { token }),
            None => (self.error)(StatusCode::UNAUTHORIZED, "unauthorized"),
        }
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
                if routing::exists(self.table, &head.method, head.uri.path()) {
                    reply::method_not_allowed()
                } else {
                    (self.error)(StatusCode::NOT_FOUND, "not found")
                }
            }
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::LENGTH_REQUIRED => {
                (self.error)(StatusCode::BAD_REQUEST, "error decoding request body")
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
