//! A node outside the cluster that has all content, so that pins can be fetched.

use std::{future::pending, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::{
    env::Env,
    ipfs::{
        IpfsNode as _,
        embedded::{self, EmbeddedConfig},
    },
};

use super::NodeSlot;
use crate::{host::Program, workload};

/// Blocks stored at once.
const BATCH: u64 = 64;

/// The library.
#[derive(Debug, Clone)]
pub struct Library {
    /// Content of the numbers from 1 to this one.
    pub cids: u64,
    /// Where it can be found once it has all of that.
    pub slot: NodeSlot,
}

/// A node with its folder at the usual place.
pub(super) fn config() -> EmbeddedConfig {
    EmbeddedConfig {
        folder: "/ipfs".into(),
        listen: vec!["/ip4/0.0.0.0/tcp/4001".to_owned()],
        storage_max: 1 << 40,
        pin_timeout: Duration::from_secs(120),
    }
}

impl Library {
    async fn run(self, env: Env) -> Result<(), String> {
        let node = embedded::start(config(), &env).await;
        let node = node.map_err(|e| e.to_string())?;
        let mut first = 1;
        while first <= self.cids {
            let last = self.cids.min(first + BATCH - 1);
            let block = |n| Some((workload::cid(n)?, workload::bytes(n).into()));
            let blocks = (first..=last).filter_map(block).collect();
            node.block_put(blocks).await.map_err(|e| e.to_string())?;
            first = last + 1;
        }
        self.slot.put(Some(node));
        pending().await
    }
}

impl Program for Library {
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>> {
        self.clone().run(env).boxed()
    }

    fn forget(&mut self) {
        self.slot.put(None);
    }
}
