//! A peer whose embedded node lies on a small file system of its own: what is known to be too large is
//! refused before it is sent, what turns out too large fails with a clear error, nothing is lost, and
//! other pins go elsewhere.
//!
//! It mounts a tmpfs. Where the test may not, it says so and is skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use ipfs_cluster_tests::{Answer, Cluster, Setup, blocks, http, random, until};
use serde_json::Value;

use crate::{add, cat, id, tell};

/// The peer on the small file system, and how large that is.
const SMALL: usize = 1;
const DISK: usize = 6 << 20;
/// How long metrics and retries may take to tell.
const LIMIT: Duration = Duration::from_secs(120);

/// A file system in memory; gone with this.
struct Mount(PathBuf);

impl Mount {
    fn at(folder: &Path) -> Result<Self, String> {
        let size = format!("size={DISK}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder);
        let output = mount.output().map_err(|e| format!("mount: {e}"))?;
        if output.status.success() {
            Ok(Self(folder.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a peer that a failed test left may still use it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Moves a folder onto a file system of its own.
fn moved(folder: &Path) -> Result<Mount, String> {
    let aside = folder.with_extension("before");
    fs::rename(folder, &aside).unwrap();
    fs::create_dir(folder).unwrap();
    let mount = Mount::at(folder)?;
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(aside.join(".")).arg(folder);
    assert!(copy.status().unwrap().success());
    Ok(mount)
}

async fn pin_at(cluster: &Cluster, cid: &str, to: &str) -> Answer {
    let path = format!("/pins/{cid}?replication-min=1&replication-max=1&user-allocations={to}");
    cluster.peers[0].rest("POST", &path).await.unwrap()
}

/// What is pinned past the cluster: its size is not in the state.
async fn unknown(cluster: &Cluster, bytes: usize) -> String {
    let rpc = cluster.peers[0].ipfs_rpc_port();
    http::ipfs_add(rpc, "cid-version=1", &random(bytes)).await
}

/// The error of a pin at the small peer, once it has failed.
async fn failure(cluster: &Cluster, cid: &str) -> String {
    let info = cluster.until_status(0, cid, "pin_error", 1).await;
    let peers = info["peer_map"].as_object().unwrap().values();
    let mut errors = peers.filter_map(|peer| peer["error"].as_str());
    errors
        .find(|error| !error.is_empty())
        .unwrap_or_default()
        .to_owned()
}

/// Of known size: refused before a byte is sent, as soon as its metric tells of the disk.
async fn too_large_is_refused_early(cluster: &Cluster) {
    let first = id(cluster, 0);
    let query = format!("replication=1&user-allocations={first}");
    let known = add(&cluster.peers[0], &query, &random(2 * DISK)).await;
    let small = id(cluster, SMALL);
    until("its metric tells of the disk", LIMIT, || async {
        let metrics = cluster.peers[0]
            .rest("GET", "/monitor/metrics/freespace")
            .await;
        let metrics: Value = metrics
            .and_then(|answer| answer.json())
            .map_err(|e| e.to_string())?;
        let mut all = metrics.as_array().into_iter().flatten();
        let own = all.find(|metric| metric["peer"] == small.as_str());
        let free = own.and_then(|metric| metric["value"].as_str()?.parse().ok());
        match free {
            Some(1..=DISK) => Ok(()),
            _ => Err(metrics.to_string()),
        }
    })
    .await;
    let path = format!("/pins/{known}?replication-min=3&replication-max=3");
    let answer = cluster.peers[0].rest("POST", &path).await.unwrap();
    assert!(
        answer.text().contains("not enough peers to allocate CID"),
        "{answer:?}"
    );
}

/// Without what was too large there is room again.
async fn takes_pins_without(cluster: &Cluster, large: &str) {
    let small = id(cluster, SMALL);
    let only = format!("replication=1&user-allocations={small}");
    let gone = cluster.peers[0]
        .rest("DELETE", &format!("/pins/{large}"))
        .await;
    assert_eq!(gone.unwrap().status, 200);
    until("it takes pins again", LIMIT, || async {
        let gc = cluster.peers[SMALL]
            .rest("POST", "/ipfs/gc?local=true")
            .await;
        gc.map_err(|e| e.to_string())?;
        let (path, bytes) = (format!("/add?{only}"), random(1 << 20));
        let answer = http::upload(cluster.peers[0].rest_port(), &path, &bytes);
        let answer = answer.await.map_err(|e| e.to_string())?;
        let error = answer.header("x-stream-error").unwrap_or_default();
        if error.is_empty() && answer.text().contains(&small) {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
}

#[test]
fn a_small_file_system_runs_full_clearly_and_loses_nothing() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3).with_ipfs_rpc()).await;
        let small = id(&cluster, SMALL);
        let only = format!("replication=1&user-allocations={small}");
        let before = add(&cluster.peers[0], &only, &random(300_000)).await;
        cluster.until_status(0, &before, "pinned", 1).await;
        assert_eq!(cluster.peers[SMALL].stop().await, Some(0));
        let folder = blocks::folder(&cluster.peers[SMALL].folder);
        let _mount = match moved(&folder) {
            Ok(mount) => mount,
            Err(why) => {
                eprintln!("SKIPPED: no file system can be mounted here: {why}");
                return;
            }
        };
        cluster.restart(SMALL).await;
        cluster.all_see_each_other().await;

        too_large_is_refused_early(&cluster).await;
        // Of a size that nobody knows: it begins, and fails by name.
        let large = unknown(&cluster, 2 * DISK).await;
        assert_eq!(pin_at(&cluster, &large, &small).await.status, 200);
        let error = failure(&cluster, &large).await;
        assert!(
            error.contains("the disk of the IPFS store is full"),
            "{error}"
        );
        assert!(cluster.peers[SMALL].is_running());
        blocks::whole(&folder, &before).unwrap();
        assert_eq!(cat(&cluster.peers[SMALL], &before).await.len(), 300_000);

        // Others are chosen meanwhile, and take it.
        let there = until("new pins go elsewhere", LIMIT, || async {
            let cid = add(&cluster.peers[0], "replication=2", &random(1 << 20)).await;
            let answer = cluster.peers[0]
                .rest("GET", &format!("/allocations/{cid}"))
                .await;
            let text = answer.map_err(|e| e.to_string())?.text();
            if text.contains(&small) {
                Err(text)
            } else {
                Ok(cid)
            }
        })
        .await;
        cluster.until_status(0, &there, "pinned", 2).await;

        takes_pins_without(&cluster, &large).await;
        blocks::whole(&folder, &before).unwrap();
        // Before its file system goes.
        assert_eq!(cluster.peers[SMALL].stop().await, Some(0));
    });
}
