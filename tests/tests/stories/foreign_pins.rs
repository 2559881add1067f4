//! What somebody else has pinned on a peer's embedded IPFS node is left alone.

use std::{path::PathBuf, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_node::{
    env::real,
    ipfs::{
        IpfsNode, PinRequest,
        embedded::{self, Embedded, EmbeddedConfig},
    },
};
use ipfs_cluster_protocol::{content::options::ImportOptions, id::Cid, pin::PinMode};
use ipfs_cluster_tests::{
    Cluster, Setup,
    foreign_pins::{OwnersNode, survive_everything},
    random,
};

use crate::tell;

/// The embedded IPFS node of a peer that does not run, by the peer's folder.
struct InFolder(PathBuf);

impl InFolder {
    async fn start(&self) -> Arc<Embedded> {
        let config = EmbeddedConfig::on_loopback(self.0.join("ipfs"));
        embedded::start(config, &real::env()).await.unwrap()
    }
}

impl OwnersNode for InFolder {
    async fn pin_something(&self, mode: PinMode) -> Cid {
        let node = self.start().await;
        let bytes = stream::iter([Ok(random(50_000).into())]).boxed();
        let root = node.add_file(&ImportOptions::default(), bytes).await;
        let cid = root.unwrap().cid;
        let request = PinRequest::new(cid, mode, "somebody's");
        node.pin(request, Box::new(|_| {})).await.unwrap();
        node.shutdown().await;
        cid
    }

    async fn pinned(&self) -> Vec<(Cid, PinMode)> {
        let node = self.start().await;
        let pins = node.pin_ls().await.unwrap().try_collect().await.unwrap();
        node.shutdown().await;
        pins
    }
}

#[test]
fn foreign_pins_survive_everything_that_can_happen_to_the_peer() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(2)).await;
        let host = cluster.init().await;
        let node = InFolder(cluster.peers[host].folder.clone());
        survive_everything(cluster, host, &node).await;
    });
}
