//! The gateway on listeners of its own.

use std::{sync::Arc, time::Instant};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::{
    answer, plain,
    subdomain::{self, Place},
};
use crate::{
    api::{
        http::{
            access_log::{AccessLog, Component},
            reply::{Outgoing, Reply, into_outgoing},
            server::{Client, ListenError, Server, ServerLimits, Site},
        },
        metrics::Metrics,
    },
    env::{Addr, Env},
    ipfs::SharedIpfs,
};

/// How the gateway is served.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where.
    pub listen: Vec<Addr>,
    /// Hosts below which every root has a name of its own.
    pub hosts: Vec<String>,
}

/// Serves what `node` can read.
pub async fn serve_gateway(
    config: GatewayConfig,
    env: &Env,
    node: SharedIpfs,
    metrics: &Metrics,
) -> Result<Server, ListenError> {
    let site = GatewaySite {
        node,
        hosts: config.hosts,
        log: AccessLog::traced(Component::Gateway),
    };
    let site = metrics.time("gateway", Arc::new(site));
    Server::listen(env, &config.listen, site, ServerLimits::default()).await
}

struct GatewaySite {
    node: SharedIpfs,
    hosts: Vec<String>,
    log: AccessLog,
}

impl Site for GatewaySite {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: Client,
    ) -> BoxFuture<'static, Outgoing> {
        async move {
            let entry = self.log.begin(&request, from, Instant::now());
            let reply = self.reply(request).await;
            entry.answered(into_outgoing(reply), None)
        }
        .boxed()
    }
}

impl GatewaySite {
    async fn reply(&self, request: Request<Incoming>) -> Reply {
        match subdomain::place(&request, &self.hosts) {
            Place::Answered(reply) => reply,
            Place::Root(root) => {
                let request = subdomain::by_path(request, &root);
                subdomain::of_root(answer(&self.node, &request).await, &root)
            }
            Place::Path if request.uri().path().starts_with("/ipfs/") => {
                answer(&self.node, &request).await
            }
            Place::Path if request.uri().path().starts_with("/ipns/") => subdomain::no_ipns(),
            Place::Path => plain(StatusCode::NOT_FOUND, "404 page not found: try /ipfs/CID\n"),
        }
    }
}
