//! Content that no single peer has room for is spread over all of them and read back whole.

use std::time::Duration;

use ipfs_cluster_tests::{Cluster, Peer, Setup, blocks, http, random, until};
use serde_json::Value;

use crate::{cat, get, tell};

/// Bytes of the content, of a peer's store, and of a shard.
const CONTENT: usize = 12_000_000;
const STORE: u64 = 8_000_000;
const SHARD: usize = 1_500_000;

fn small_store(_: usize, config: &mut Value) {
    config["ipfs_connector"]["embedded"]["storage_max_bytes"] = STORE.into();
}

/// In one piece it fits nowhere, which is said before anything is sent.
async fn refused_in_one_piece(peer: &Peer, bytes: &[u8]) {
    let path = "/add?replication=1&name=big";
    let whole = http::upload(peer.rest_port(), path, bytes).await.unwrap();
    let error = whole.header("x-stream-error").unwrap_or_default();
    assert!(
        error.starts_with("not enough peers to allocate CID"),
        "{whole:?}"
    );
}

/// A part of it cannot go by itself; with the root all of it goes.
async fn unpin_all(cluster: &Cluster, root: &str, parts: &[&str], had: &[u64]) {
    let peer = &cluster.peers[0];
    for part in parts {
        let path = format!("/pins/{part}");
        let refused = peer.rest("DELETE", &path).await.unwrap();
        assert_eq!(refused.status, 500, "{refused:?}");
    }
    let path = format!("/pins/{root}");
    let gone = cluster.peers[2].rest("DELETE", &path).await.unwrap();
    assert_eq!(gone.status, 200, "{gone:?}");
    let path = "/allocations?filter=all&consistency=linearizable";
    let left = peer.rest("GET", path).await.unwrap();
    assert_eq!(left.status, 204, "pins are left: {left:?}");
    for peer in &cluster.peers {
        let folder = blocks::folder(&peer.folder);
        until("nothing is left", Duration::from_secs(60), || async {
            let gc = peer.rest("POST", "/ipfs/gc?local=true").await;
            gc.map_err(|e| e.to_string())?;
            match blocks::bytes(&folder) {
                Ok(0) => Ok(()),
                left => Err(format!("{left:?} of {had:?}")),
            }
        })
        .await;
    }
}

#[test]
fn what_is_larger_than_any_store_is_spread_and_read_back_whole() {
    tell(async {
        let cluster = Cluster::start(Setup::of(3).edited(small_store)).await;
        let bytes = random(CONTENT);
        let peer = &cluster.peers[0];

        refused_in_one_piece(peer, &bytes).await;
        let path = format!("/add?shard=true&shard-size={SHARD}&replication=1&name=big");
        let answer = http::upload(peer.rest_port(), &path, &bytes).await.unwrap();
        assert_eq!(answer.header("x-stream-error").unwrap_or_default(), "");
        let lines = answer.items().unwrap();
        let named = |name: &str| lines.iter().find(|line| line["name"] == name);
        let root = named("f").unwrap()["cid"].as_str().unwrap().to_owned();
        let list = named("big-clusterDAG").unwrap()["cid"].clone();
        let shards = lines
            .iter()
            .filter(|l| l["name"].as_str().unwrap().starts_with("shard-"));
        let shards: Vec<&Value> = shards.collect();
        assert!(shards.len() >= CONTENT / SHARD, "{lines:?}");

        let meta = get(peer, &format!("/allocations/{root}")).await;
        assert_eq!(
            (&meta["type"], &meta["reference"]),
            (&"meta-pin".into(), &list)
        );
        let dag = get(peer, &format!("/allocations/{}", list.as_str().unwrap())).await;
        assert_eq!(dag["type"], "clusterdag-pin");
        assert_eq!(dag["reference"], root.as_str());
        for shard in &shards {
            let cid = shard["cid"].as_str().unwrap();
            let pin = get(peer, &format!("/allocations/{cid}")).await;
            assert_eq!(pin["type"], "shard-pin");
            assert_eq!(pin["max_depth"], 1);
            cluster.until_status(1, cid, "pinned", 1).await;
        }

        // Every peer has a part and none has all; through each of them it is whole.
        let mut had = vec![];
        for peer in &cluster.peers {
            let held = blocks::bytes(&blocks::folder(&peer.folder)).unwrap();
            assert!(held > 0 && held <= STORE, "{} holds {held}", peer.name);
            had.push(held);
            assert!(cat(peer, &root).await == bytes, "through {}", peer.name);
        }

        unpin_all(
            &cluster,
            &root,
            &[shards[0]["cid"].as_str().unwrap(), list.as_str().unwrap()],
            &had,
        )
        .await;
    });
}

#[test]
fn a_shard_too_small_for_a_block_is_refused_and_nothing_is_pinned() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let peer = &cluster.peers[0];
        let path = "/add?shard=true&shard-size=1000";
        let answer = http::upload(peer.rest_port(), path, &random(500_000)).await;
        let answer = answer.unwrap();
        assert_eq!(
            answer.header("x-stream-error"),
            Some("block doesn't fit in empty shard: shard size too small?")
        );
        let left = peer.rest("GET", "/allocations?filter=all").await.unwrap();
        assert_eq!(left.status, 204, "{left:?}");
        let path = "/add?nocopy=true";
        let answer = http::upload(peer.rest_port(), path, b"bytes")
            .await
            .unwrap();
        let error = answer.header("x-stream-error").unwrap_or_default();
        assert!(error.starts_with("nocopy is not possible: "), "{answer:?}");
    });
}
