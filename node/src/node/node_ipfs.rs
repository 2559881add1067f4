//! The IPFS node that the configuration names.

use std::sync::Arc;

use super::error::StartError;
use crate::{
    config::Ipfs,
    env::Env,
    ipfs::{
        SharedIpfs,
        embedded::{self, Embedded, EmbeddedConfig},
        kubo::{Calls, Kubo, KuboTimeouts},
    },
};

/// The IPFS node beside the peer.
#[derive(Debug)]
pub(super) struct NodeIpfs {
    pub(super) node: SharedIpfs,
    /// Kept to be stopped in order.
    pub(super) embedded: Option<Arc<Embedded>>,
    /// What calls of a node beside the peer took.
    pub(super) calls: Option<Calls>,
}

impl NodeIpfs {
    pub(super) async fn open(config: &Ipfs, env: &Env) -> Result<Self, StartError> {
        match config {
            Ipfs::Embedded(e) => {
                let config = EmbeddedConfig {
                    folder: e.repo.clone(),
                    listen: e.swarm_listen.iter().map(ToString::to_string).collect(),
                    storage_max: e.storage_max,
                    pin_timeout: e.pin_timeout,
                };
                let embedded = embedded::start(config, env).await?;
                if !e.check_interval.is_zero() {
                    embedded.check_every(e.check_interval);
                }
                tracing::info!(
                    peer = %embedded.peer_id(), addresses = ?embedded.addresses(),
                    "embedded IPFS node runs"
                );
                Ok(Self {
                    node: embedded.clone(),
                    embedded: Some(embedded),
                    calls: None,
                })
            }
            Ipfs::Http(h) => {
                let timeouts = KuboTimeouts {
                    request: h.request_timeout,
                    pin: h.pin_timeout,
                    unpin: h.unpin_timeout,
                    gc: h.repogc_timeout,
                };
                let kubo = Kubo::new(h.node.clone(), env, timeouts);
                let calls = Some(kubo.calls().clone());
                let node: SharedIpfs = Arc::new(kubo);
                if let Err(e) = node.id().await {
                    tracing::warn!(
                        node = %h.node, error = %e,
                        "no IPFS node answers there yet: start one, set \
                         ipfs_connector.ipfshttp.node_multiaddress, or use the built-in one \
                         (`init --ipfs embedded`)"
                    );
                }
                Ok(Self {
                    node,
                    embedded: None,
                    calls,
                })
            }
        }
    }

    pub(super) async fn shutdown(&self) {
        if let Some(embedded) = &self.embedded {
            embedded.shutdown().await;
        }
    }
}
