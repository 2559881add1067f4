//! Stories told to real peers over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod client;
mod content;
mod content_kill;
mod damage;
mod dev;
mod divergence;
mod failover;
mod foreign_cluster;
mod foreign_pins;
mod full_disk;
mod garbage;
mod garbage_ipfs;
mod leaving;
mod links;
mod membership;
mod partition;
mod pins;
mod recover;
mod refusals;
mod repair;
mod restart;
mod service;
mod sharded;
mod sizes;
mod small_disk;
mod timing;
mod traces;

use ipfs_cluster_tests::{Cluster, Peer, cluster::loopback};

/// Adds bytes at a peer; the root.
async fn add(peer: &Peer, query: &str, bytes: &[u8]) -> String {
    ipfs_cluster_tests::http::add(peer.rest_port(), query, bytes).await
}

/// The bytes of a CID as a peer's IPFS node has them.
async fn cat(peer: &Peer, cid: &str) -> Vec<u8> {
    let path = format!("/api/v0/cat?arg={cid}");
    let answer = ipfs_cluster_tests::http::request(peer.proxy_port(), "POST", &path);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.body
}

/// Runs a story.
fn tell(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(story);
}

/// The ID of a peer that has been ready once.
fn id(cluster: &Cluster, peer: usize) -> String {
    cluster.peers[peer].addresses().id.clone()
}

/// A peer on its own, not started yet.
fn alone(folder: &std::path::Path) -> Peer {
    Peer::init("alone", folder, loopback("alone"))
}

/// What `GET path` of a peer answers, as one value.
async fn get(peer: &Peer, path: &str) -> serde_json::Value {
    let answer = peer.rest("GET", path).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json().unwrap()
}
