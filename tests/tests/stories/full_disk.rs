//! A peer whose disk takes no more: adds to it say so, what it had stays, new pins go to others, and it
//! takes pins again once there is room.

use std::time::Duration;

use ipfs_cluster_tests::{Answer, Cluster, Setup, blocks, http, random, until};

use crate::{add, cat, id, tell};

/// The peer whose files cannot get longer than this: blocks of 1 MiB are too long, the rest is not.
const FULL: usize = 1;
const FILE_BYTES: u64 = 700 * 1024;
/// How long metrics may take to tell.
const LIMIT: Duration = Duration::from_secs(120);

/// An upload in blocks of 1 MiB, which the full disk does not take.
async fn upload(cluster: &Cluster, peer: usize, query: &str, bytes: usize) -> Answer {
    let path = format!("/add?chunker=size-1048576&{query}");
    let port = cluster.peers[peer].rest_port();
    http::upload(port, &path, &random(bytes)).await.unwrap()
}

/// The same for one peer. Fails where that says no, or another one is chosen.
async fn upload_to(cluster: &Cluster, peer: usize, to: &str, bytes: usize) -> Result<(), String> {
    let query = format!("replication=1&user-allocations={to}");
    let answer = upload(cluster, peer, &query, bytes).await;
    match answer.header("x-stream-error").unwrap_or_default() {
        "" if answer.text().contains(to) => Ok(()),
        "" => Err(format!("it went elsewhere: {}", answer.text())),
        error => Err(error.to_owned()),
    }
}

/// Whom new content would go to, as an upload to any two of the peers shows.
async fn chosen(cluster: &Cluster) -> Vec<String> {
    let answer = upload(cluster, 0, "replication=2", 3 << 20).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = answer.items().unwrap();
    let allocations = lines.last().unwrap()["allocations"].as_array().unwrap();
    let peers = allocations.iter().map(|p| p.as_str().unwrap().to_owned());
    peers.collect()
}

#[test]
fn a_full_disk_says_so_loses_nothing_and_gets_no_pins() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let full = id(&cluster, FULL);
        let only = format!("replication=1&user-allocations={full}");
        let before = add(&cluster.peers[0], &only, &random(300_000)).await;
        cluster.until_status(0, &before, "pinned", 1).await;

        assert_eq!(cluster.peers[FULL].stop().await, Some(0));
        cluster.peers[FULL].limit_files(Some(FILE_BYTES));
        cluster.restart(FULL).await;
        cluster.all_see_each_other().await;

        // The way there may be a connection that ended with the peer's last life.
        until("small content goes there", LIMIT, || async {
            upload_to(&cluster, 0, &full, 1000).await
        })
        .await;
        let error = upload_to(&cluster, 0, &full, 3 << 20).await.unwrap_err();
        assert!(
            error.contains("the disk of the IPFS store is full"),
            "{error}"
        );
        let folder = blocks::folder(&cluster.peers[FULL].folder);
        assert_eq!(blocks::files_in(&folder, "tmp"), 0, "half-written blocks");

        // Its metric says that it has no room, so others are chosen, which take it.
        until("others are chosen", LIMIT, || async {
            match chosen(&cluster).await {
                peers if peers.contains(&full) => Err(format!("{peers:?}")),
                _ => Ok(()),
            }
        })
        .await;

        blocks::whole(&folder, &before).unwrap();
        assert!(cluster.peers[FULL].is_running());
        assert_eq!(cat(&cluster.peers[FULL], &before).await.len(), 300_000);

        assert_eq!(cluster.peers[FULL].stop().await, Some(0));
        cluster.peers[FULL].limit_files(None);
        cluster.restart(FULL).await;
        until("it takes pins again", LIMIT, || async {
            upload_to(&cluster, FULL, &full, 3 << 20).await
        })
        .await;
        blocks::whole(&folder, &before).unwrap();
    });
}
