//! All peers in this process.

use std::{path::PathBuf, sync::Arc};

use futures::future;
use ipfs_cluster_node::{
    env::Env,
    node::{self, RunningNode, StartOptions},
};

use super::{Failure, plan::Planned};
use crate::cli::{
    addresses::{Addresses, Published},
    daemon::Who,
};

/// Peers of this process.
pub(super) struct Inside {
    peers: Vec<Peer>,
}

struct Peer {
    running: RunningNode,
    _published: Published,
}

impl Inside {
    /// Starts all at once: peers that have state already need each other to be ready.
    pub(super) async fn start(
        env: &Env,
        planned: Vec<Planned>,
    ) -> Result<(Self, Vec<Addresses>), Failure> {
        let starting = planned.into_iter().map(|peer| start(env.clone(), peer));
        let started = future::try_join_all(starting).await?;
        let (peers, addresses) = started.into_iter().unzip();
        Ok((Self { peers }, addresses))
    }

    pub(super) fn news(&mut self) -> Vec<String> {
        Vec::new()
    }

    pub(super) async fn stop(self) {
        // One after the other, or they would hand the lead to each other.
        for peer in self.peers {
            peer.running.shutdown().await;
        }
    }
}

async fn start(env: Env, planned: Planned) -> Result<(Peer, Addresses), Failure> {
    let who = Who::of(&planned.config);
    let folder: PathBuf = planned.folder;
    let options = StartOptions {
        bootstrap: planned.bootstrap,
        ..StartOptions::default()
    };
    let disk = Arc::clone(&env.disk);
    let running = Box::pin(node::start(planned.config, env, options)).await;
    let running = running.map_err(|e| Failure::new("starting cluster", e))?;
    let addresses = who.told(&running);
    let published = addresses.publish(&folder, &disk);
    let peer = Peer {
        running,
        _published: published.map_err(|e| Failure::new("writing addresses.json", e))?,
    };
    Ok((peer, addresses))
}
