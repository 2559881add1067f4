//! The HTTP servers that the configuration names.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{error::StartError, node_ipfs::NodeIpfs};
use crate::{
    api::{self, ApiConfig, Backend, Metrics, ProcessMeter, ProxiedNode, ProxyConfig, Server, Tls},
    cluster::Cluster,
    config::{Config, HttpServer},
    env::Env,
    ipfs::http::HttpClient,
    net::{self, HttpHost, HttpStreams, Net, PeerStream, Proto, SecretBytes},
};

/// What listens.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) rest: Option<Server>,
    pub(super) pinning: Option<Server>,
    pub(super) proxy: Option<Server>,
    pub(super) metrics: Option<Server>,
    /// Libp2p hosts of the APIs' own, as long as they are served.
    hosts: Vec<HttpHost>,
}

pub(super) async fn serve(
    config: &Config,
    env: &Env,
    net: &Net,
    cluster: &Cluster,
    ipfs: &NodeIpfs,
    process: Option<ProcessMeter>,
) -> Result<Servers, StartError> {
    let backend: Arc<dyn Backend> = Arc::new(cluster.clone());
    let metrics = Metrics::of(backend.clone(), ipfs.calls.as_ref(), process);
    let mut hosts = Vec::new();
    let rest = match &config.rest {
        Some(rest) => {
            let mut streams = accepted(net.accept(Proto::Http));
            if let Some((host, own)) = own_host(rest, "REST API", env).await? {
                hosts.push(host);
                streams = stream::select(streams, own).boxed();
            }
            let rest = api_config(rest, "api.restapi", env).await?;
            let served = api::serve_rest(rest, env, backend.clone(), &metrics, Some(streams));
            let server = served.await?;
            tracing::info!(addresses = ?server.addresses(), "REST API listens");
            Some(server)
        }
        None => None,
    };
    let pinning = match &config.pinning {
        Some(pinning) => {
            let own = own_host(pinning, "Pinning Service API", env).await?;
            let streams = own.map(|(host, streams)| {
                hosts.push(host);
                streams
            });
            let pinning = api_config(pinning, "api.pinsvcapi", env).await?;
            let served = api::serve_pinning(pinning, env, backend.clone(), &metrics, streams);
            let server = served.await?;
            tracing::info!(addresses = ?server.addresses(), "Pinning Service API listens");
            Some(server)
        }
        None => None,
    };
    let proxy = match &config.proxy {
        Some(proxy) => {
            let node = match &ipfs.embedded {
                Some(_) => ProxiedNode::Embedded,
                None => ProxiedNode::Http(HttpClient::new(env.connect.clone(), proxy.node.clone())),
            };
            let proxy =
                ProxyConfig::new(proxy, node).map_err(|e| StartError::Config(e.to_string()))?;
            let server = api::serve_proxy(proxy, env, backend, &metrics).await?;
            tracing::info!(addresses = ?server.addresses(), "IPFS proxy listens");
            Some(server)
        }
        None => None,
    };
    let metrics = if config.metrics.enabled {
        let server = api::serve_metrics(&config.metrics.listen, env, &metrics).await?;
        tracing::info!(addresses = ?server.addresses(), "metrics are served");
        Some(server)
    } else {
        None
    };
    Ok(Servers {
        rest,
        pinning,
        proxy,
        metrics,
        hosts,
    })
}

/// As configured, with its certificate read.
async fn api_config(
    server: &HttpServer,
    section: &str,
    env: &Env,
) -> Result<ApiConfig, StartError> {
    let mut api = ApiConfig::try_from(server).map_err(|e| StartError::Config(e.to_string()))?;
    if let Some(files) = &server.tls {
        let tls = Tls::load(env, &files.certificates, &files.key).await;
        let tls = tls.map_err(|e| {
            let keys = "name a PEM certificate and its key in ssl_cert_file and ssl_key_file";
            StartError::Config(format!("{section}: {e}: {keys}"))
        })?;
        api.tls = Some(tls);
    }
    Ok(api)
}

/// A libp2p host of an API's own, if it has one.
async fn own_host(
    server: &HttpServer,
    api: &str,
    env: &Env,
) -> Result<Option<(HttpHost, HttpStreams)>, StartError> {
    let Some(host) = &server.host else {
        return Ok(None);
    };
    let key = SecretBytes::new(host.identity.private_key.expose().clone());
    let (host, streams) = net::serve_http(&key, &host.listen, env).await?;
    tracing::info!(addresses = ?host.addresses(), "{api}: its own libp2p host listens");
    Ok(Some((host, streams)))
}

/// HTTP over streams of the cluster's swarm.
fn accepted(streams: mpsc::Receiver<PeerStream>) -> api::Connections {
    let pipes = stream::unfold(streams, |mut streams| async {
        let stream = streams.recv().await?;
        let peer = stream.peer.to_string();
        Some(((stream.into_inner(), peer), streams))
    });
    pipes.boxed()
}

impl Servers {
    pub(super) async fn shutdown(self) {
        let all = [self.rest, self.pinning, self.proxy, self.metrics];
        for server in all.into_iter().flatten() {
            server.shutdown().await;
        }
        drop(self.hosts);
    }
}
