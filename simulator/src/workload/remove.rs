//! A client that takes a peer out of the cluster, and does not give up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ipfs_cluster_ctl::client::{Client, Connector, Options, Target};
use ipfs_cluster_protocol::id::PeerId;

use crate::world::World;

/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Tries before the client gives up after all.
const TRIES_MAX: usize = 500;

pub(super) struct Removal {
    pub(super) peer: PeerId,
    pub(super) drain: bool,
    /// Peers that are asked, one after the other.
    pub(super) via: Vec<Target>,
    pub(super) connector: Arc<dyn Connector>,
    /// Set once the cluster has confirmed it.
    pub(super) gone: Arc<AtomicBool>,
    pub(super) world: World,
}

impl Removal {
    pub(super) async fn run(self) {
        for target in self.via.iter().cycle().take(TRIES_MAX) {
            let told = self.ask(target.clone()).await;
            let done = told.is_ok();
            self.world
                .note(format_args!("client removes {}: {told:?}", self.peer));
            if done {
                self.gone.store(true, Ordering::Relaxed);
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, target: Target) -> Result<(), String> {
        let options = Options {
            timeout: Some(PATIENCE),
            ..Options::default()
        };
        let client = Client::with(self.connector.clone(), vec![target], options);
        let client = client.map_err(|e| e.to_string())?;
        let asked = tokio::time::timeout(PATIENCE, client.peer_rm(&self.peer, self.drain));
        let answered = asked.await.map_err(|_| "no answer".to_owned())?;
        answered.map_err(|e| e.to_string())
    }
}
