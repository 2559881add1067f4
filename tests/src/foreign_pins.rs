//! What somebody else has pinned on a peer's IPFS node is left alone, whatever happens to the peer:
//! told of a peer with any kind of IPFS node.

use ipfs_cluster_protocol::{id::Cid, pin::PinMode};

use crate::{Cluster, http, random};

/// An IPFS node on which its owner pins without the cluster's knowledge. It is asked only while the
/// peer does not run.
pub trait OwnersNode {
    /// Pins something new; its CID.
    fn pin_something(&self, mode: PinMode) -> impl Future<Output = Cid>;

    /// Everything that is pinned there.
    fn pinned(&self) -> impl Future<Output = Vec<(Cid, PinMode)>>;
}

/// The owner, and what is his.
struct Owner<'a, N> {
    node: &'a N,
    pins: Vec<(Cid, PinMode)>,
}

impl<N: OwnersNode> Owner<'_, N> {
    /// What is pinned now, all of his among it.
    async fn finds_his_pins(&self, when: &str) -> Vec<(Cid, PinMode)> {
        let there = self.node.pinned().await;
        for pin in &self.pins {
            assert!(there.contains(pin), "{pin:?} is gone {when}: {there:?}");
        }
        there
    }
}

/// Pins a CID through the cluster on every peer, then unpins it.
async fn pin_and_unpin(cluster: &Cluster, cid: &Cid) {
    let path = format!("/pins/{cid}");
    let answer = cluster.peers[0].rest("POST", &path).await;
    let answer = answer.expect("the peer answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = cid.to_string();
    cluster
        .until_status(0, &text, "pinned", cluster.peers.len())
        .await;
    let (code, out, err) = cluster.peers[0].ctl(&["pin", "rm", "--wait", &text]);
    assert_eq!(code, 0, "{out}{err}");
}

/// Adds something through the cluster, pinned on every peer; its root.
async fn add(cluster: &Cluster) -> String {
    let root = http::add(cluster.peers[0].rest_port(), "", &random(50_000)).await;
    cluster
        .until_status(0, &root, "pinned", cluster.peers.len())
        .await;
    root
}

/// The host, a peer of a cluster that has a folder and did not run yet, joins, is killed, misses an
/// unpin, restarts, loses its state, joins anew and is removed.
///
/// # Panics
/// When a pin of the node's owner is gone at the end of one of these, or one of the cluster's is left.
pub async fn survive_everything(mut cluster: Cluster, host: usize, node: &impl OwnersNode) {
    let recursive = node.pin_something(PinMode::Recursive).await;
    let untouched = node.pin_something(PinMode::Recursive).await;
    let direct = node.pin_something(PinMode::Direct).await;
    let pins = vec![
        (recursive, PinMode::Recursive),
        (untouched, PinMode::Recursive),
        (direct, PinMode::Direct),
    ];
    let owner = Owner { node, pins };

    // It joins; the cluster pins and unpins what is there already.
    cluster.restart(host).await;
    cluster.all_see_each_other().await;
    pin_and_unpin(&cluster, &recursive).await;
    let kept = add(&cluster).await;
    let dropped = add(&cluster).await;
    // Killed, it misses an unpin, which it makes up for.
    cluster.peers[host].kill();
    owner.finds_his_pins("after a join and a kill").await;
    let (code, ..) = cluster.peers[0].ctl(&["pin", "rm", &dropped]);
    assert_eq!(code, 0);
    cluster.restart(host).await;
    cluster.until_status(host, &dropped, "unpinned", 3).await;
    cluster.until_status(host, &kept, "pinned", 3).await;
    assert_eq!(cluster.peers[host].stop().await, Some(0));
    let there = owner.finds_his_pins("after a restart").await;
    assert_eq!(there.len(), 4, "one of the cluster's is left: {there:?}");

    // It loses its state, and joins anew.
    let mut cleanup = cluster.peers[host].command(&["state", "cleanup", "-f"]);
    let output = cleanup.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    owner.finds_his_pins("after a cleanup").await;
    cluster.restart(host).await;
    cluster.until_status(0, &kept, "pinned", 3).await;
    pin_and_unpin(&cluster, &recursive).await;
    pin_and_unpin(&cluster, &untouched).await;

    // It is removed.
    let id = cluster.peers[host].addresses().id.clone();
    let path = format!("/peers/{id}");
    let answer = cluster.peers[0].rest("DELETE", &path).await;
    let answer = answer.expect("the peer answers");
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(cluster.peers[host].ended().await, Some(0));
    owner.finds_his_pins("after the removal").await;
}
