//! Two clusters with the same secret: they never merge, and each refuses the other by name.

use std::{fs, path::Path, time::Duration};

use ipfs_cluster_tests::{Cluster, Peer, Setup, missing, random, until};
use serde_json::Value;

use crate::{add, alone, get, refusals::daemon, tell};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The cluster and the life in it that a data folder names.
fn identity(folder: &Path) -> Value {
    let text = fs::read(folder.join("state/meta.json")).unwrap();
    let meta: Value = serde_json::from_slice(&text).unwrap();
    meta["identity"].clone()
}

fn cluster_id(folder: &Path) -> String {
    identity(folder)["cluster"].as_str().unwrap().to_owned()
}

async fn cids(peer: &Peer) -> Vec<String> {
    let answer = peer.rest("GET", "/allocations").await.unwrap();
    let pins = answer.items().unwrap();
    let cids = pins.iter().map(|p| p["cid"].as_str().unwrap().to_owned());
    cids.collect()
}

#[test]
fn a_peer_with_state_of_its_own_only_dials_and_is_refused_by_name() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let member = &cluster.peers[0];
        let theirs = add(member, "", &random(1000)).await;
        let temp = tempfile::tempdir().unwrap();
        let mut other = alone(temp.path());
        other.spawn(&[]);
        other.ready().await;
        let ours = add(&other, "", &random(1000)).await;
        let before = identity(temp.path());
        assert_eq!(other.stop().await, Some(0));

        other.spawn(&[cluster.address(0)]);
        other.ready().await;
        let names = [cluster_id(temp.path()), cluster_id(&member.folder)];
        assert_ne!(names[0], names[1]);
        until("the other cluster is named", LIMIT, || {
            let log = other.log();
            let named = |line: &str| {
                line.contains("\"WARN\"") && names.iter().all(|name| line.contains(name))
            };
            let found = log.lines().any(named);
            std::future::ready(if found { Ok(()) } else { Err(other.log_tail()) })
        })
        .await;
        assert_eq!(identity(temp.path()), before, "it is who it was");
        assert!(
            !temp.path().join("state.old.0").exists(),
            "nothing is moved"
        );
        assert_eq!(cids(&other).await, std::slice::from_ref(&ours));
        assert_eq!(cids(member).await, [theirs]);
        for peer in [member, &other] {
            let id = get(peer, "/id").await;
            assert_eq!(id["cluster_peers"].as_array().unwrap().len(), 1, "{id}");
        }
        // Both go on by themselves.
        for peer in [member, &other] {
            let path = format!("/pins/{}", missing());
            let answer = peer.rest("POST", &path).await.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    });
}

#[test]
fn a_folder_of_another_cluster_is_refused_and_forms_no_second_one() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let temp = tempfile::tempdir().unwrap();
        let mut other = alone(temp.path());
        other.spawn(&[]);
        other.ready().await;
        assert_eq!(other.stop().await, Some(0));
        // It has lost its log, and still knows whose it is.
        let (file, aside) = (
            temp.path().join("state/raft.redb"),
            temp.path().join("aside"),
        );
        fs::rename(&file, &aside).unwrap();
        let name = cluster_id(temp.path());
        let (code, err) = daemon(&other, &["--bootstrap", &cluster.address(0)]);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(&name), "{err}");
        assert!(err.contains("move the folder aside"), "{err}");
        let (code, err) = daemon(&other, &[]);
        assert_eq!(code, Some(1), "{err}");
        assert!(
            err.contains(&name) && err.contains("its log is missing"),
            "{err}"
        );
        // No harm was done to either.
        let (_, peers, _) = cluster.peers[0].ctl(&["peers", "ls"]);
        assert!(peers.contains("Sees 0 other peers"), "{peers}");
        fs::rename(&aside, &file).unwrap();
        other.spawn(&[]);
        other.ready().await;
        assert_eq!(cluster_id(temp.path()), name);
    });
}

#[test]
fn a_folder_of_a_newer_format_is_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let peer = alone(temp.path());
    fs::create_dir(temp.path().join("state")).unwrap();
    let meta = temp.path().join("state/meta.json");
    fs::write(&meta, r#"{"format": 99}"#).unwrap();
    let (code, err) = daemon(&peer, &[]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("has format 99") && err.contains("run the newer version"),
        "{err}"
    );
    assert!(
        err.contains(&temp.path().join("state").display().to_string()),
        "{err}"
    );
}
