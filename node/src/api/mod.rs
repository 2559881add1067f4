//! HTTP towards users: the REST API and the IPFS proxy.
//!
//! `http/` serves sites over byte pipes (TCP, unix sockets, streams of the cluster's swarm); `site`
//! is the REST API in the order in which it judges requests, `routes` and `rest/` what it answers,
//! `proxy/` the IPFS node's API with some calls made the cluster's. All of it asks [`Backend`],
//! never the parts behind it.

mod auth;
mod backend;
mod config;
mod error;
mod headers;
mod http;
mod measure;
mod metrics;
mod proxy;
mod rest;
mod routes;
mod routing;
mod site;
#[cfg(test)]
mod tests;
mod trace;

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue};

pub use self::{
    auth::Credentials,
    backend::{AddSession, Backend, Commit, Committed, Items, ReadAt},
    config::HeaderError,
    headers::Cors,
    http::server::{Connections, ListenError, Server, ServerLimits},
    measure::{BlockCounts, Measurements, RaftMeasurements},
    metrics::{Metrics, serve_metrics},
    proxy::{ProxiedNode, ProxyConfig, serve_proxy},
};
use self::{rest::Rest, site::RestSite};
use crate::env::{Addr, Env};

/// How the REST API is served.
#[derive(Debug, Clone, Default)]
pub struct RestConfig {
    /// Where.
    pub listen: Vec<Addr>,
    /// Bounds.
    pub limits: ServerLimits,
    /// Who may use it.
    pub credentials: Credentials,
    /// Pages of which sites may use it.
    pub cors: Cors,
    /// Further headers of its answers; a name may come more than once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Serves the REST API, with what is measured at `/metrics`, also on the pipes of `streams` (such as those of the cluster's swarm).
pub async fn serve_rest(
    config: RestConfig,
    env: &Env,
    backend: Arc<dyn Backend>,
    metrics: &Metrics,
    streams: Option<Connections>,
) -> Result<Server, ListenError> {
    let rest = Rest {
        backend,
        registry: metrics.registry(),
    };
    let site = Arc::new(RestSite {
        routes: routes::routes(&rest),
        credentials: config.credentials,
        cors: config.cors,
        headers: config.headers,
    });
    let site = metrics.time("rest", site);
    let mut server = Server::listen(env, &config.listen, site.clone(), config.limits).await?;
    if let Some(streams) = streams {
        server.serve(streams, site, config.limits);
    }
    Ok(server)
}
