//! HTTP towards users: the REST API, the Pinning Service API and the IPFS proxy.
//!
//! `http/` serves sites over byte pipes (TCP, unix sockets, streams of the cluster's swarm), within
//! TLS where a certificate is given; `site` is an API in the order in which it judges requests,
//! `routes` and `rest/` what the REST API answers, `pinning/` what the Pinning Service API does,
//! `proxy/` the IPFS node's API with some calls made the cluster's. All of it asks [`Backend`],
//! never the parts behind it; `gateway/` and `rpc/` are the embedded IPFS node's own, and ask it.

mod auth;
mod backend;
mod config;
mod error;
mod gateway;
mod headers;
mod http;
mod measure;
mod metrics;
mod openapi;
mod pinning;
mod process;
mod proxy;
mod rest;
mod routes;
mod routing;
mod rpc;
mod site;
#[cfg(test)]
mod tests;
mod token;
mod trace;

use std::{path::PathBuf, sync::Arc};

use ::http::{HeaderName, HeaderValue};

pub use self::{
    auth::Credentials,
    backend::{AddSession, Backend, Commit, Committed, Items, ReadAt},
    config::HeaderError,
    gateway::{GatewayConfig, serve_gateway},
    headers::Cors,
    http::{
        server::{Connections, ListenError, Server, ServerLimits},
        tls::{Tls, TlsError},
    },
    measure::{BlockCounts, Measurements, RaftMeasurements},
    metrics::{Metrics, serve_metrics},
    process::ProcessMeter,
    proxy::{ProxiedNode, ProxyConfig, serve_proxy},
    rpc::serve_ipfs_rpc,
};
use self::{
    http::{
        access_log::{AccessLog, Component},
        reply,
    },
    rest::Rest,
    site::ApiSite,
};
use crate::env::{Addr, Env};

/// How the REST API or the Pinning Service API is served.
#[derive(Debug, Clone, Default)]
pub struct ApiConfig {
    /// Where.
    pub listen: Vec<Addr>,
    /// Within TLS.
    pub tls: Option<Tls>,
    /// Bounds.
    pub limits: ServerLimits,
    /// Access log; else it is part of the program's log.
    pub log_file: Option<PathBuf>,
    /// Who may use it.
    pub credentials: Credentials,
    /// Pages of which sites may use it.
    pub cors: Cors,
    /// Further headers of its answers; a name may come more than once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Serves the REST API, with what is measured at `/metrics`, also on the pipes of `streams` (such as those of the cluster's swarm).
pub async fn serve_rest(
    config: ApiConfig,
    env: &Env,
    backend: Arc<dyn Backend>,
    metrics: &Metrics,
    streams: Option<Connections>,
) -> Result<Server, ListenError> {
    let rest = Rest {
        backend,
        registry: metrics.registry(),
    };
    let site = ApiSite {
        routes: routes::routes(&rest),
        table: routing::REST,
        error: |status, message| reply::error(status, message),
        credentials: config.credentials.clone(),
        cors: config.cors.clone(),
        headers: config.headers.clone(),
        log: AccessLog::traced(Component::Rest),
    };
    let served = ("rest", metrics);
    serve_api(config, env, site, served, streams).await
}

/// Serves the Pinning Service API, also on the pipes of `streams`.
pub async fn serve_pinning(
    config: ApiConfig,
    env: &Env,
    backend: Arc<dyn Backend>,
    metrics: &Metrics,
    streams: Option<Connections>,
) -> Result<Server, ListenError> {
    let site = ApiSite {
        routes: pinning::routes(&backend),
        table: routing::PINNING,
        error: pinning::error,
        credentials: config.credentials.clone(),
        cors: config.cors.clone(),
        headers: config.headers.clone(),
        log: AccessLog::traced(Component::Pinning),
    };
    let served = ("pinning", metrics);
    serve_api(config, env, site, served, streams).await
}

async fn serve_api(
    config: ApiConfig,
    env: &Env,
    mut site: ApiSite,
    (name, metrics): (&'static str, &Metrics),
    streams: Option<Connections>,
) -> Result<Server, ListenError> {
    let writer = match &config.log_file {
        Some(path) => {
            let (log, writer) = AccessLog::open(site.log.component(), env, path).await?;
            site.log = log;
            Some(writer)
        }
        None => None,
    };
    let site = metrics.time(name, Arc::new(site));
    let (addrs, limits) = (&config.listen, config.limits);
    let mut server = Server::listen_secured(env, addrs, config.tls, site.clone(), limits).await?;
    if let Some(streams) = streams {
        server.serve(streams, site, limits);
    }
    if let Some(writer) = writer {
        server.beside(writer.run());
    }
    Ok(server)
}
