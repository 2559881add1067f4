//! The HTTP servers that the configuration names.

use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::mpsc;

use super::{error::StartError, node_ipfs::NodeIpfs};
use crate::{
    api::{self, Backend, Metrics, ProxiedNode, ProxyConfig, RestConfig, Server},
    cluster::Cluster,
    config::Config,
    env::Env,
    ipfs::http::HttpClient,
    net::{Net, PeerStream, Proto},
};

/// What listens.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) rest: Option<Server>,
    pub(super) proxy: Option<Server>,
    pub(super) metrics: Option<Server>,
}

pub(super) async fn serve(
    config: &Config,
    env: &Env,
    net: &Net,
    cluster: &Cluster,
    ipfs: &NodeIpfs,
) -> Result<Servers, StartError> {
    let backend: Arc<dyn Backend> = Arc::new(cluster.clone());
    let metrics = Metrics::of(backend.clone());
    let rest = match &config.rest {
        Some(rest) => {
            let rest = RestConfig::try_from(rest).map_err(|e| StartError::Config(e.to_string()))?;
            let streams = accepted(net.accept(Proto::Http));
            let served = api::serve_rest(rest, env, backend.clone(), &metrics, Some(streams));
            let server = served.await?;
            tracing::info!(addresses = ?server.addresses(), "REST API listens");
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
        proxy,
        metrics,
    })
}

/// HTTP over streams of the cluster's swarm.
fn accepted(streams: mpsc::Receiver<PeerStream>) -> api::Connections {
    let pipes = futures::stream::unfold(streams, |mut streams| async {
        let stream = streams.recv().await?;
        let peer = stream.peer.to_string();
        Some(((stream.into_inner(), peer), streams))
    });
    pipes.boxed()
}

impl Servers {
    pub(super) async fn shutdown(self) {
        for server in [self.rest, self.proxy, self.metrics].into_iter().flatten() {
            server.shutdown().await;
        }
    }
}
