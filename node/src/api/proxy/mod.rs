//! The IPFS proxy: the IPFS node's own API, with pinning and adding made the cluster's.
//!
//! ```text
//! request ─▶ intercept ─ pin/*, add, repo/*, …put?pin ─▶ pins, add, repo, put ─▶ Backend
//!                └────── everything else ──────────▶ upstream: the node over HTTP, streamed
//!                                                    or embedded: a few calls on the node's trait
//! ```

pub(super) mod add;
pub(super) mod cors;
mod dag;
pub(super) mod embedded;
mod extracted;
mod pins;
mod put;
pub(super) mod reading;
pub(super) mod reply;
pub(super) mod repo;
pub(super) mod uploaded;
mod upstream;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderName, Method, Request};
use hyper::body::Incoming;
use ipfs_cluster_protocol::api::query::Query;

use self::{embedded::Keeper, extracted::Extracted};
use super::{
    backend::Backend,
    http::{
        access_log::{AccessLog, Component},
        reply::{Outgoing, Reply, into_outgoing},
        server::{Client, ListenError, Server, ServerLimits, Site},
    },
    metrics::Metrics,
    rest::{Rest, unescape},
    routing,
};
use crate::{
    env::{Addr, Env},
    ipfs::http::HttpClient,
};

/// How the IPFS proxy is served.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Where.
    pub listen: Vec<Addr>,
    /// Bounds.
    pub limits: ServerLimits,
    /// Access log; else it is part of the program's log.
    pub log_file: Option<PathBuf>,
    /// The IPFS node.
    pub node: ProxiedNode,
    /// Headers to take over from the node besides those of CORS.
    pub extract_headers: Vec<HeaderName>,
    /// What is asked of the node to learn them.
    pub extract_path: String,
    /// How long they hold; zero for ever.
    pub extract_ttl: Duration,
}

/// The IPFS node behind the proxy.
#[derive(Debug, Clone)]
pub enum ProxiedNode {
    /// A process of its own, behind its RPC.
    Http(HttpClient),
    /// The embedded one.
    Embedded,
}

/// Serves the IPFS proxy.
pub async fn serve_proxy(
    config: ProxyConfig,
    env: &Env,
    backend: Arc<dyn Backend>,
    metrics: &Metrics,
) -> Result<Server, ListenError> {
    let rest = Rest {
        backend,
        registry: metrics.registry(),
    };
    let (log, writer) = match &config.log_file {
        Some(path) => {
            let (log, writer) = AccessLog::open(Component::Proxy, env, path).await?;
            (log, Some(writer))
        }
        None => (AccessLog::traced(Component::Proxy), None),
    };
    let site = Arc::new(ProxySite {
        rest,
        extracted: Extracted::new(&config),
        node: config.node,
        log,
    });
    let site = metrics.time("proxy", site);
    let mut server = Server::listen(env, &config.listen, site, config.limits).await?;
    if let Some(writer) = writer {
        server.beside(writer.run());
    }
    Ok(server)
}

struct ProxySite {
    rest: Rest,
    extracted: Extracted,
    node: ProxiedNode,
    log: AccessLog,
}

/// A call that the cluster answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    PinAdd,
    PinRm,
    PinLs,
    PinUpdate,
    Add,
    RepoStat,
    RepoGc,
    /// With `pin=true` alone.
    BlockPut,
    /// With `pin=true` alone.
    DagPut,
}

/// The call, and the argument where the path has it.
fn intercepted(method: &Method, path: &str, query: &str) -> Option<(Call, Option<String>)> {
    if ![Method::POST, Method::GET, Method::PUT].contains(method) {
        return None;
    }
    let path = path.strip_prefix("/api/v0/")?;
    let exact = match path {
        "add" => Some(Call::Add),
        "pin/add" => Some(Call::PinAdd),
        "pin/rm" => Some(Call::PinRm),
        "pin/ls" => Some(Call::PinLs),
        "pin/update" => Some(Call::PinUpdate),
        "repo/stat" => Some(Call::RepoStat),
        "repo/gc" => Some(Call::RepoGc),
        "block/put" | "dag/put" if Query::parse(query).get("pin") != "true" => return None,
        "block/put" => Some(Call::BlockPut),
        "dag/put" => Some(Call::DagPut),
        _ => None,
    };
    if let Some(call) = exact {
        return Some((call, None));
    }
    let (call, argument) = path.rsplit_once('/')?;
    let call = match call {
        "pin/add" => Call::PinAdd,
        "pin/rm" => Call::PinRm,
        "pin/ls" => Call::PinLs,
        _ => return None,
    };
    let argument = unescape(argument).filter(|a| !a.is_empty())?;
    Some((call, Some(argument)))
}

impl Site for ProxySite {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: Client,
    ) -> BoxFuture<'static, Outgoing> {
        async move {
            let entry = self.log.begin(&request, from, Instant::now());
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let answer = match routing::cleaned(&uri) {
                Some(redirect) => into_outgoing(redirect),
                None => match intercepted(&method, uri.path(), uri.query().unwrap_or_default()) {
                    Some((call, argument)) => self.cluster(call, argument, request).await,
                    None => self.pass(request).await,
                },
            };
            entry.answered(answer, None)
        }
        .boxed()
    }
}

impl ProxySite {
    /// The cluster's answer, with the headers that the node would have put on its own.
    async fn cluster(
        &self,
        call: Call,
        argument: Option<String>,
        request: Request<Incoming>,
    ) -> Outgoing {
        let mut query = Query::parse(request.uri().query().unwrap_or_default());
        if let Some(argument) = argument {
            let mut with = Query::default();
            with.push("arg", argument);
            for (key, value) in query.pairs().filter(|(k, _)| *k != "arg") {
                with.push(key, value);
            }
            query = with;
        }
        let extra = self.extracted.headers(&request).await;
        let mut reply: Reply = match call {
            Call::RepoStat => repo::stat(&self.rest).await,
            Call::RepoGc => repo::gc(&self.rest, &query).await,
            Call::BlockPut | Call::DagPut => put::put(&self.rest, &self.node, call, request).await,
            Call::PinAdd => pins::add(&self.rest, &query).await,
            Call::PinRm => pins::rm(&self.rest, &query).await,
            Call::PinLs => pins::ls(&self.rest, &query).await,
            Call::PinUpdate => pins::update(&self.rest, &query).await,
            Call::Add => {
                let (head, body) = request.into_parts();
                add::add(&self.rest, query, &head.headers, body).await
            }
        };
        let headers = reply.headers_mut();
        headers.insert(http::header::SERVER, reply::SERVER);
        for (name, value) in extra {
            headers.insert(name, value);
        }
        into_outgoing(reply)
    }

    /// The node's answer, as it is.
    async fn pass(&self, request: Request<Incoming>) -> Outgoing {
        match &self.node {
            ProxiedNode::Http(client) => upstream::pass(client, request).await,
            ProxiedNode::Embedded => {
                let reply =
                    embedded::answer(self.rest.backend.ipfs(), request, Keeper::Cluster).await;
                into_outgoing(reply)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pinning_and_adding_are_intercepted() {
        let post = |path: &str| intercepted(&Method::POST, path, "");
        let with = |call, argument: &str| Some((call, Some(argument.to_owned())));
        assert_eq!(post("/api/v0/pin/add"), Some((Call::PinAdd, None)));
        assert_eq!(post("/api/v0/pin/rm/Qm%2Fa"), with(Call::PinRm, "Qm/a"));
        assert_eq!(post("/api/v0/pin/ls/x"), with(Call::PinLs, "x"));
        assert_eq!(post("/api/v0/add"), Some((Call::Add, None)));
        assert!(intercepted(&Method::GET, "/api/v0/pin/ls", "").is_some());
        let put = |query: &str| intercepted(&Method::POST, "/api/v0/block/put", query);
        assert_eq!(put("pin=true"), Some((Call::BlockPut, None)));
        assert_eq!(put("pin=false"), None);
        for path in [
            "/api/v0/pin/ls/",
            "/api/v0/pin/add/ipfs/x",
            "/api/v0/cat",
            "/pin/ls",
            "/api/v0/pin/update/x",
        ] {
            assert_eq!(post(path), None, "{path}");
        }
        assert_eq!(intercepted(&Method::OPTIONS, "/api/v0/pin/ls", ""), None);
    }
}
