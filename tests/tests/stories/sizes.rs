//! The size of what was not added through the cluster is learnt while it is pinned, kept with the pin,
//! and is no edit of it.

use std::time::Duration;

use ipfs_cluster_tests::{Cluster, Peer, Setup, http, random, until};
use serde_json::Value;

use crate::{get, tell};

/// Bytes of the content.
const CONTENT: usize = 2_000_000;
/// How long a size may take to be told: the second holder's turn, and some.
const LIMIT: Duration = Duration::from_secs(60);

/// The line that a running peer exports of a CID.
fn exported(peer: &Peer, cid: &str) -> Result<Value, String> {
    let output = peer.command(&["state", "export"]).output().unwrap();
    // One that has just started says that it recovers its state.
    if !output.status.success() {
        return Err(format!("{output:?}"));
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains(cid));
    serde_json::from_str(line.ok_or("not pinned")?).map_err(|e| e.to_string())
}

async fn until_sized(peer: &Peer, cid: &str) -> u64 {
    until("the size is known", LIMIT, || async {
        let size = exported(peer, cid)?["size"].as_u64();
        size.ok_or_else(|| "no size yet".to_owned())
    })
    .await
}

#[test]
fn the_size_of_content_pinned_by_its_cid_is_learnt_and_kept() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3).with_ipfs_rpc()).await;
        // Past the cluster: its state knows nothing of it.
        let rpc = cluster.peers[0].ipfs_rpc_port();
        let cid = http::ipfs_add(rpc, "cid-version=1", &random(CONTENT)).await;

        let path = format!("/pins/{cid}?name=a&replication-min=2&replication-max=2");
        let pinned = cluster.peers[1].rest("POST", &path).await.unwrap();
        assert_eq!(pinned.status, 200, "{pinned:?}");
        cluster.until_status(1, &cid, "pinned", 2).await;
        let shown = get(&cluster.peers[1], &format!("/allocations/{cid}")).await;
        let size = until_sized(&cluster.peers[2], &cid).await;
        let (least, most) = (CONTENT as u64, CONTENT as u64 * 101 / 100);
        assert!((least..most).contains(&size), "{size}");
        let after = get(&cluster.peers[1], &format!("/allocations/{cid}")).await;
        assert_eq!(
            after, shown,
            "its time, holders and options are as they were"
        );

        // Pinned again with another name it is still known, and after a restart too.
        let path = format!("/pins/{cid}?name=b&replication-min=2&replication-max=2");
        let again = cluster.peers[2].rest("POST", &path).await.unwrap();
        assert_eq!(again.status, 200, "{again:?}");
        assert_eq!(cluster.peers[1].stop().await, Some(0));
        cluster.restart(1).await;
        until("the new name is known there", LIMIT, || async {
            let line = exported(&cluster.peers[1], &cid)?;
            if line["name"] == "b" {
                Ok(())
            } else {
                Err(line.to_string())
            }
        })
        .await;
        assert_eq!(until_sized(&cluster.peers[1], &cid).await, size);
    });
}
