//! What somebody else has pinned on a peer's IPFS node is left alone, whatever happens to the peer.

use std::{path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_node::{
    env::real,
    ipfs::{
        IpfsNode, PinRequest,
        embedded::{self, Embedded, EmbeddedConfig},
    },
};
use ipfs_cluster_protocol::{content::options::ImportOptions, id::Cid, pin::PinMode};
use ipfs_cluster_tests::{Cluster, Setup, random};

use crate::{add, tell};

/// The peer whose IPFS node is looked at.
const HOST: usize = 2;

/// The IPFS node of a peer that does not run.
async fn node(config: &Path) -> Arc<Embedded> {
    let config = EmbeddedConfig {
        folder: config.join("ipfs"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        storage_max: 1 << 30,
        pin_timeout: Duration::from_secs(60),
    };
    embedded::start(config, &real::env()).await.unwrap()
}

/// Pins something on a peer's IPFS node without the cluster's knowledge.
async fn pin_something(node: &Embedded, mode: PinMode) -> Cid {
    let bytes = stream::iter([Ok(random(50_000).into())]).boxed();
    let root = node
        .add_file(&ImportOptions::default(), bytes)
        .await
        .unwrap();
    let request = PinRequest::new(root.cid, mode, "somebody's");
    node.pin(request, Box::new(|_| {})).await.unwrap();
    root.cid
}

/// Everything that is pinned on the IPFS node of a peer that does not run.
async fn pinned(config: &Path) -> Vec<(Cid, PinMode)> {
    let node = node(config).await;
    let pins = node.pin_ls().await.unwrap().try_collect().await.unwrap();
    node.shutdown().await;
    pins
}

/// Pins a CID through the cluster on every peer, then unpins it everywhere else but at the host if
/// it was there before.
async fn pin_and_unpin(cluster: &Cluster, cid: &Cid) {
    let path = format!("/pins/{cid}");
    let answer = cluster.peers[0].rest("POST", &path).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = cid.to_string();
    cluster
        .until_status(0, &text, "pinned", cluster.peers.len())
        .await;
    let (code, out, err) = cluster.peers[0].ctl(&["pin", "rm", "--wait", &text]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn foreign_pins_survive_everything_that_can_happen_to_the_peer() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(HOST)).await;
        // On the node before the peer's first start.
        let host = cluster.init().await;
        assert_eq!(host, HOST);
        let folder = cluster.peers[HOST].folder.clone();
        let owner = node(&folder).await;
        let recursive = pin_something(&owner, PinMode::Recursive).await;
        let direct = pin_something(&owner, PinMode::Direct).await;
        let untouched = pin_something(&owner, PinMode::Recursive).await;
        owner.shutdown().await;
        let foreign = [
            (recursive, PinMode::Recursive),
            (untouched, PinMode::Recursive),
            (direct, PinMode::Direct),
        ];
        let all_there = async |when: &str, folder: &Path| {
            let pins = pinned(folder).await;
            for pin in &foreign {
                assert!(pins.contains(pin), "{pin:?} is gone {when}: {pins:?}");
            }
            pins
        };
        drop(owner);

        // It joins; the cluster pins and unpins what is there already.
        cluster.restart(HOST).await;
        cluster.all_see_each_other().await;
        pin_and_unpin(&cluster, &recursive).await;
        let kept = add(&cluster.peers[0], "", &random(50_000)).await;
        let dropped = add(&cluster.peers[0], "", &random(50_000)).await;
        for cid in [&kept, &dropped] {
            cluster.until_status(0, cid, "pinned", 3).await;
        }
        // Killed, it misses an unpin, which it makes up for.
        cluster.peers[HOST].kill();
        all_there("after a join and a kill", &folder).await;
        let (code, ..) = cluster.peers[0].ctl(&["pin", "rm", &dropped]);
        assert_eq!(code, 0);
        cluster.restart(HOST).await;
        cluster.until_status(HOST, &dropped, "unpinned", 3).await;
        cluster.until_status(HOST, &kept, "pinned", 3).await;
        assert_eq!(cluster.peers[HOST].stop().await, Some(0));
        let pins = all_there("after a restart", &folder).await;
        assert_eq!(pins.len(), 4, "one of the cluster's is left: {pins:?}");

        // It loses its state, and joins anew.
        let mut cleanup = cluster.peers[HOST].command(&["state", "cleanup", "-f"]);
        let output = cleanup.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        all_there("after a cleanup", &folder).await;
        cluster.restart(HOST).await;
        cluster.until_status(0, &kept, "pinned", 3).await;
        pin_and_unpin(&cluster, &recursive).await;
        pin_and_unpin(&cluster, &untouched).await;

        // It is removed.
        let id = cluster.peers[HOST].addresses().id.clone();
        let path = format!("/peers/{id}");
        let answer = cluster.peers[0].rest("DELETE", &path).await.unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(cluster.peers[HOST].ended().await, Some(0));
        all_there("after the removal", &folder).await;
    });
}
