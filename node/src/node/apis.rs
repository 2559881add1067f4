//! The HTTP servers that the configuration names.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{error::StartError, node_ipfs::NodeIpfs};
use crate::{
    api::{
        self, ApiConfig, Backend, GatewayConfig, Metrics, ProcessMeter, ProxiedNode, ProxyConfig,
        Server, Tls,
    },
    cluster::Cluster,
    config::{Config, HttpServer, Ipfs, Proxy},
    env::Env,
    ipfs::{http::HttpClient, secured::Secured},
    net::{self, HttpHost, HttpStreams, Net, PeerStream, Proto, SecretBytes},
};

/// What listens.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) rest: Option<Server>,
    pub(super) pinning: Option<Server>,
    pub(super) proxy: Option<Server>,
    pub(super) metrics: Option<Server>,
    /// The embedded IPFS node's own.
    pub(super) gateway: Option<Server>,
    pub(super) ipfs_rpc: Option<Server>,
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
        Some(proxy) => Some(serve_proxy(proxy, env, backend, ipfs, &metrics).await?),
        None => None,
    };
    let (gateway, ipfs_rpc) = of_embedded(config, env, ipfs, &metrics).await?;
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
        gateway,
        ipfs_rpc,
        hosts,
    })
}

/// The proxy in front of the IPFS node that there is.
async fn serve_proxy(
    proxy: &Proxy,
    env: &Env,
    backend: Arc<dyn Backend>,
    ipfs: &NodeIpfs,
    metrics: &Metrics,
) -> Result<Server, StartError> {
    let node = match &ipfs.embedded {
        Some(_) => ProxiedNode::Embedded,
        None => ProxiedNode::Http(node_client(proxy, env)?),
    };
    let proxy = ProxyConfig::new(proxy, node).map_err(|e| StartError::Config(e.to_string()))?;
    let server = api::serve_proxy(proxy, env, backend, metrics).await?;
    tracing::info!(addresses = ?server.addresses(), "IPFS proxy listens");
    Ok(server)
}

/// The gateway and the RPC of an embedded IPFS node, where they are wanted.
async fn of_embedded(
    config: &Config,
    env: &Env,
    ipfs: &NodeIpfs,
    metrics: &Metrics,
) -> Result<(Option<Server>, Option<Server>), StartError> {
    let (Ipfs::Embedded(wanted), Some(node)) = (&config.ipfs, &ipfs.embedded) else {
        return Ok((None, None));
    };
    let mut gateway = None;
    if !wanted.gateway_listen.is_empty() {
        let config = GatewayConfig {
            listen: wanted.gateway_listen.clone(),
            hosts: wanted.gateway_hosts.clone(),
        };
        let server = api::serve_gateway(config, env, ipfs.node.clone(), metrics).await?;
        tracing::info!(addresses = ?server.addresses(), "IPFS gateway listens");
        gateway = Some(server);
    }
    let mut rpc = None;
    if !wanted.rpc_listen.is_empty() {
        let served = api::serve_ipfs_rpc(&wanted.rpc_listen, env, node.clone(), metrics);
        let server = served.await?;
        tracing::info!(addresses = ?server.addresses(), "IPFS RPC listens");
        rpc = Some(server);
    }
    Ok((gateway, rpc))
}

/// What calls the node behind the proxy.
fn node_client(proxy: &Proxy, env: &Env) -> Result<HttpClient, StartError> {
    let mut connect = env.connect.clone();
    if proxy.node_https {
        let secured = Secured::trusting_system(connect);
        connect = Arc::new(secured.map_err(|why| {
            StartError::Config(format!("api.ipfsproxy.node_https is true, but {why}"))
        })?);
    }
    Ok(HttpClient::new(connect, proxy.node.clone()))
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
        let own = [self.gateway, self.ipfs_rpc];
        let all = [self.rest, self.pinning, self.proxy, self.metrics];
        for server in all.into_iter().chain(own).flatten() {
            server.shutdown().await;
        }
        drop(self.hosts);
    }
}
