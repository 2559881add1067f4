//! The clusters that the groups are played to, and what was done by hand between two exchanges.

use std::{collections::BTreeSet, time::Duration};

use ipfs_cluster_tests::{Cluster, Setup, http, until};
use serde_json::{Value, json};

use crate::{
    names::{ALICE, ALICE_PASSWORD},
    player::{Door, Player},
};

/// For the cluster to get where a group begins.
const LIMIT: Duration = Duration::from_secs(60);

/// Every group, sorted.
pub(crate) const GROUPS: [&str; 13] = [
    "pinsvc-auth",
    "pinsvc-plain",
    "proxy-ipfs-down",
    "proxy-plain",
    "rest-auth",
    "rest-content",
    "rest-crdt",
    "rest-ipfs-down",
    "rest-no-quorum",
    "rest-peer-down",
    "rest-plain",
    "rest-repair",
    "rest-tls",
];

/// Runs a story.
fn tell(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(story);
}

/// The third peer of the recordings has tags of its own.
fn tags(number: usize, config: &mut Value) {
    if number == 2 {
        config["informer"]["tags"]["tags"] = json!({"group": "g3", "region": "eu"});
    }
}

fn plain(peers: usize) -> Setup {
    Setup::of(peers)
        .edited(tags)
        // What exists nowhere fails soon enough to be seen failing.
        .with("CLUSTER_EMBEDDED_PINTIMEOUT", "5s")
}

/// Kubo has the empty folder without being given it.
async fn give_the_empty_folder(cluster: &Cluster) {
    let body = b"--B\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n\x0a\x02\x08\x01\r\n--B--\r\n";
    let headers = "Content-Type: multipart/form-data; boundary=B\r\n";
    for peer in &cluster.peers {
        let path = "/api/v0/block/put?format=v0";
        let answer = http::send(peer.proxy_port(), "POST", path, headers, body).await;
        let answer = answer.unwrap();
        let empty = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
        assert!(answer.text().contains(empty), "{answer:?}");
    }
}

#[test]
fn rest_plain() {
    tell(async {
        let cluster = Cluster::start(plain(3)).await;
        give_the_empty_folder(&cluster).await;
        let player = Player::new("rest-plain", Door::Rest, &cluster).await;
        let mut player = player.described(&cluster, "").await;
        player.until("empty-cids", &cluster).await;
        // The recorded cluster was restarted with users for the group rest-auth before this.
        let mut between = Player::new("rest-auth", Door::Rest, &cluster).await;
        between.without_judging("headers-add", &cluster).await;
        player.finish(&cluster).await;
    });
}

#[test]
fn rest_auth() {
    fn users(_: usize, config: &mut Value) {
        let rest = &mut config["api"]["restapi"];
        rest["basic_auth_credentials"] = json!({"alice": ALICE_PASSWORD});
        rest["headers"] = json!({"X-Custom": ["one", "two"]});
        rest["cors_allowed_origins"] = json!(["http://example.org"]);
    }
    tell(async {
        let setup = Setup::of(3).edited(users).closed();
        let mut cluster = Cluster::start(setup).await;
        let player = Player::new("rest-auth", Door::Rest, &cluster).await;
        let mut player = player.described(&cluster, ALICE).await;
        player.until("headers-stream", &cluster).await;
        // The third peer could not be reached for this one.
        cluster.peers[2].kill();
        player.until("headers-add", &cluster).await;
        cluster.restart(2).await;
        player.finish(&cluster).await;
    });
}

#[test]
fn pinning_service_auth() {
    fn users(_: usize, config: &mut Value) {
        let service = &mut config["api"]["pinsvcapi"];
        service["basic_auth_credentials"] = json!({"bob": "pw2"});
        service["headers"] = json!({"X-Custom": ["one", "two"]});
    }
    tell(async {
        let cluster = Cluster::start(Setup::of(1).edited(users)).await;
        let player = Player::new("pinsvc-auth", Door::PinningService, &cluster).await;
        player.finish(&cluster).await;
    });
}

#[test]
fn rest_content() {
    tell(async {
        let setup = plain(3)
            .with("CLUSTER_REPLICATIONFACTORMIN", "2")
            .with("CLUSTER_REPLICATIONFACTORMAX", "2");
        let cluster = Cluster::start(setup).await;
        let player = Player::new("rest-content", Door::Rest, &cluster).await;
        let player = player.described(&cluster, "").await;
        player.finish(&cluster).await;
    });
}

#[test]
fn proxy_plain() {
    tell(async {
        let cluster = Cluster::start(plain(3)).await;
        give_the_empty_folder(&cluster).await;
        let mut before = Player::new("rest-plain", Door::Rest, &cluster).await;
        before.until("allocations", &cluster).await;
        let player = Player::new("proxy-plain", Door::Proxy, &cluster).await;
        player.finish(&cluster).await;
    });
}

#[test]
fn pinning_service_plain() {
    tell(async {
        let cluster = Cluster::start(plain(3)).await;
        give_the_empty_folder(&cluster).await;
        let mut before = Player::new("rest-plain", Door::Rest, &cluster).await;
        before.until("allocations", &cluster).await;
        let player = Player::new("pinsvc-plain", Door::PinningService, &cluster).await;
        player.finish(&cluster).await;
    });
}

/// Waits until so many are members, as the first peer says.
async fn members(cluster: &Cluster, count: usize) {
    let what = format!("{count} members");
    until(&what, LIMIT, || async {
        let answer = http::send(cluster.peers[0].rest_port(), "GET", "/id", "", b"").await;
        let own: Value = answer.map_err(|e| e.to_string())?.json().unwrap();
        let members = own["cluster_peers"].as_array().map_or(0, Vec::len);
        (members == count).then_some(()).ok_or(own.to_string())
    })
    .await;
}

/// Waits until the first peer follows another and has no vote.
async fn has_no_vote(cluster: &Cluster) {
    until("the first peer has no vote", LIMIT, || async {
        let role = cluster.peers[0].role().await;
        (role.as_deref() == Some("learner"))
            .then_some(())
            .ok_or(role.unwrap_or_default())
    })
    .await;
}

/// Waits until the first peer knows that nobody leads. Until then a write may be on its way to the
/// leader, and is told to be unknown.
async fn nobody_leads(cluster: &Cluster) {
    until("nobody leads", LIMIT, || async {
        let path = "/pins/QmSnuWmxptJZdLJpKRarxBMS2Ju2oANVrgbr2xWbie9b2D";
        let port = cluster.peers[0].rest_port();
        let answer = http::send(port, "DELETE", path, "", b"").await;
        let text = answer.map_err(|e| e.to_string())?.text();
        let lost = text.contains("timed out waiting for leader");
        lost.then_some(()).ok_or(text)
    })
    .await;
}

#[test]
fn rest_without_quorum() {
    tell(async {
        let setup = plain(3)
            .with("CLUSTER_RAFT_WAITFORLEADERTIMEOUT", "2s")
            .with("CLUSTER_REPAIR_GRACE", "1s")
            .with("CLUSTER_REPLICATIONFACTORMIN", "2")
            .with("CLUSTER_REPLICATIONFACTORMAX", "2");
        let mut cluster = Cluster::start(setup).await;
        let player = Player::new("rest-no-quorum", Door::Rest, &cluster).await;
        // The recorded cluster had lost its third peer, removed it and been given content.
        let mut before = Player::new("rest-repair", Door::Rest, &cluster).await;
        let mut content = Player::new("rest-content", Door::Rest, &cluster).await;
        before.until("repin2-alloc-2-2", &cluster).await;
        cluster.peers[2].kill();
        before.until("repin2-alloc-after-rm-2-2", &cluster).await;
        members(&cluster, 2).await;
        content.until("keepalive-header", &cluster).await;
        // Of two peers only the leader votes. The peer that answers shall be the other one.
        cluster.peers[0].stop().await;
        cluster.restart(0).await;
        has_no_vote(&cluster).await;
        cluster.peers[1].kill();
        nobody_leads(&cluster).await;
        player.finish(&cluster).await;
    });
}

/// One peer's IPFS node is down from the start; what it adds goes to the others.
async fn with_a_node_down() -> Cluster {
    // A port that nobody listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", port.local_addr().unwrap().port());
    drop(port);
    let cluster = Cluster::start(plain(3).with_node(0, &address)).await;
    let mut before = Player::new("rest-plain", Door::Rest, &cluster).await;
    before.only("add-simple", &cluster).await;
    cluster
}

#[test]
fn rest_with_a_node_down() {
    tell(async {
        let cluster = with_a_node_down().await;
        let player = Player::new("rest-ipfs-down", Door::Rest, &cluster).await;
        let player = player.described(&cluster, "").await;
        player.finish(&cluster).await;
    });
}

#[test]
fn proxy_with_a_node_down() {
    tell(async {
        let cluster = with_a_node_down().await;
        let player = Player::new("proxy-ipfs-down", Door::Proxy, &cluster).await;
        player.finish(&cluster).await;
    });
}

#[test]
fn rest_with_a_peer_down() {
    tell(async {
        let setup = plain(3)
            .with("CLUSTER_DISABLEREPINNING", "true")
            .with("CLUSTER_STATESYNCINTERVAL", "1s");
        let mut cluster = Cluster::start(setup).await;
        let mut player = Player::new("rest-peer-down", Door::Rest, &cluster).await;
        player.until("peerdown-peers", &cluster).await;
        cluster.peers[2].kill();
        player.finish(&cluster).await;
    });
}

#[test]
fn rest_repair() {
    tell(async {
        let setup = plain(3).with("CLUSTER_REPAIR_GRACE", "1s");
        let mut cluster = Cluster::start(setup).await;
        let mut player = Player::new("rest-repair", Door::Rest, &cluster).await;
        player.until("repin2-alloc-2-2", &cluster).await;
        cluster.peers[2].kill();
        player.finish(&cluster).await;
    });
}

#[test]
fn shapes_are_those_of_crdt_clusters() {
    tell(async {
        let setup = plain(2).with("CLUSTER_STATESYNCINTERVAL", "1s");
        let cluster = Cluster::start(setup).await;
        let player = Player::new("rest-crdt", Door::Rest, &cluster)
            .await
            .shapes();
        player.finish(&cluster).await;
    });
}

#[test]
fn all_groups_are_here() {
    assert_eq!(GROUPS.iter().collect::<BTreeSet<_>>().len(), GROUPS.len());
}
