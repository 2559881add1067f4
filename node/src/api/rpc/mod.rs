//! The embedded node's own RPC, for clients made for Kubo's (`ipfs --api`): pins and files are the
//! node's, not the cluster's.
//!
//! ```text
//! request ─▶ own ─ add, dag/import, pin/*, repo/gc, swarm/connect ─▶ the node
//!             └── everything else: the calls that the proxy serves of it
//! ```
//! It has no users and no passwords: it is for this machine alone.

mod add;
mod import;
mod listing;
mod pins;
mod swarm;
mod verify;

use std::{sync::Arc, time::Instant};

use futures::{FutureExt, future::BoxFuture};
use http::Request;
use hyper::body::Incoming;
use ipfs_cluster_protocol::api::query::Query;

use super::{
    http::{
        access_log::{AccessLog, Component},
        reply::{Outgoing, Reply, into_outgoing},
        server::{Client, ListenError, Server, ServerLimits, Site},
    },
    metrics::Metrics,
    proxy::{
        cors,
        embedded::{self, Keeper},
        reply::error,
        repo,
    },
    routing,
};
use crate::{
    env::{Addr, Env},
    ipfs::{SharedIpfs, embedded::Embedded},
};

/// Serves the node's RPC.
pub async fn serve_ipfs_rpc(
    listen: &[Addr],
    env: &Env,
    node: Arc<Embedded>,
    metrics: &Metrics,
) -> Result<Server, ListenError> {
    let site = RpcSite {
        shared: node.clone(),
        node,
        log: AccessLog::traced(Component::Ipfs),
    };
    let site = metrics.time("ipfsrpc", Arc::new(site));
    Server::listen(env, listen, site, ServerLimits::default()).await
}

struct RpcSite {
    node: Arc<Embedded>,
    /// The same, as what is common to all nodes sees it.
    shared: SharedIpfs,
    log: AccessLog,
}

/// Calls that are not the proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Add,
    DagImport,
    PinAdd,
    PinRm,
    PinLs,
    PinUpdate,
    PinVerify,
    RepoGc,
    SwarmConnect,
}

fn own(path: &str) -> Option<Own> {
    Some(match path.strip_prefix("/api/v0/")? {
        "add" => Own::Add,
        "dag/import" => Own::DagImport,
        "pin/add" => Own::PinAdd,
        "pin/rm" => Own::PinRm,
        "pin/ls" => Own::PinLs,
        "pin/update" => Own::PinUpdate,
        "pin/verify" => Own::PinVerify,
        "repo/gc" => Own::RepoGc,
        "swarm/connect" => Own::SwarmConnect,
        _ => return None,
    })
}

impl Site for RpcSite {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: Client,
    ) -> BoxFuture<'static, Outgoing> {
        async move {
            let entry = self.log.begin(&request, from, Instant::now());
            let said = cors::headers(request.headers());
            let mut reply = match (routing::cleaned(request.uri()), own(request.uri().path())) {
                (Some(redirect), _) => redirect,
                (None, Some(call)) => self.own(call, request).await,
                (None, None) => embedded::answer(&self.shared, request, Keeper::Node).await,
            };
            reply.headers_mut().extend(said);
            entry.answered(into_outgoing(reply), None)
        }
        .boxed()
    }
}

impl RpcSite {
    async fn own(&self, call: Own, request: Request<Incoming>) -> Reply {
        if let Some(refused) = embedded::refuse(&request) {
            return refused;
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let done = match call {
            Own::Add => {
                let (head, body) = request.into_parts();
                return add::add(&self.shared, query, &head.headers, body).await;
            }
            Own::DagImport => {
                let (head, body) = request.into_parts();
                import::import(&self.shared, &query, &head.headers, body).await
            }
            Own::PinAdd => pins::add(&self.shared, &query).await,
            Own::PinRm => pins::rm(&self.shared, &query).await,
            Own::PinLs => listing::ls(&self.node, &query).await,
            Own::PinUpdate => pins::update(&self.shared, &query).await,
            Own::PinVerify => verify::verify(&self.node, &query),
            Own::RepoGc => repo::gc_of_node(&self.shared, &query).await,
            Own::SwarmConnect => swarm::connect(&self.shared, &query).await,
        };
        done.unwrap_or_else(error)
    }
}
