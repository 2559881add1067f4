//! Peers that come back.

use std::{process::Command, time::Duration};

use ipfs_cluster_tests::{Cluster, Setup, missing, random, until};

use crate::{add, cat, tell};

#[test]
fn a_killed_peer_comes_back_with_its_pins_and_makes_up_for_what_it_missed() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let (old, new) = (random(200_000), random(200_000));
        let before = add(&cluster.peers[0], "", &old).await;
        cluster.until_status(0, &before, "pinned", 3).await;
        cluster.peers[2].kill();
        let meanwhile = add(&cluster.peers[0], "", &new).await;
        cluster.restart(2).await;
        cluster.until_status(2, &meanwhile, "pinned", 3).await;
        assert!(cat(&cluster.peers[2], &before).await == old);
        assert!(cat(&cluster.peers[2], &meanwhile).await == new);
    });
}

#[test]
fn all_peers_killed_at_once_come_back_on_new_ports() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        let bytes = random(200_000);
        let cid = add(&cluster.peers[1], "", &bytes).await;
        cluster.until_status(0, &cid, "pinned", 3).await;
        for peer in &mut cluster.peers {
            peer.kill();
        }
        cluster.restart_all().await;
        cluster.all_see_each_other().await;
        cluster.until_status(2, &cid, "pinned", 3).await;
        let more = add(&cluster.peers[2], "", &random(1000)).await;
        cluster.until_status(0, &more, "pinned", 3).await;
    });
}

#[test]
fn all_but_the_first_come_back_on_new_ports_and_the_first_on_its_own() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3).direct()).await;
        let cid = add(&cluster.peers[1], "", &random(1000)).await;
        cluster.until_status(0, &cid, "pinned", 3).await;
        let before: Vec<String> = (0..3).map(|n| cluster.address(n)).collect();
        for peer in &mut cluster.peers {
            peer.kill();
        }
        cluster.restart_all().await;
        cluster.all_see_each_other().await;
        let after: Vec<String> = (0..3).map(|n| cluster.address(n)).collect();
        assert_eq!(before[0], after[0]);
        assert!(before[1] != after[1] && before[2] != after[2], "{after:?}");
        // The two that moved find each other, although each was only told of the first.
        let (one, two) = (&cluster.peers[1], &cluster.peers[2]);
        for (peer, other) in [(one, &after[2]), (two, &after[1])] {
            let what = format!("{} knows {other}", peer.name);
            until(&what, Duration::from_secs(30), || async {
                let id = crate::get(peer, "/id").await;
                let known = id["cluster_peers_addresses"].as_array();
                if known.is_some_and(|list| list.iter().any(|a| a == other)) {
                    Ok(())
                } else {
                    Err(id.to_string())
                }
            })
            .await;
        }
        let more = add(&cluster.peers[2], "", &random(1000)).await;
        cluster.until_status(1, &more, "pinned", 3).await;
    });
}

#[test]
fn a_signal_stops_a_peer_in_order() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(1)).await;
        let pid = cluster.peers[0].pid().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(cluster.peers[0].ended().await, Some(0));
        let folder = cluster.peers[0].folder.clone();
        assert!(!folder.join("addresses.json").exists());
        let log = cluster.peers[0].log();
        assert!(log.contains("\"message\":\"stopped\""), "{log}");
        cluster.restart(0).await;
        until("the peer answers", Duration::from_secs(10), || async {
            let answer = cluster.peers[0]
                .rest("GET", "/id")
                .await
                .map_err(|e| e.to_string())?;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(answer.text())
            }
        })
        .await;
    });
}

#[test]
fn a_peer_that_comes_back_from_a_backup_of_a_former_life_says_so_and_stops() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        cluster.peers[2].stop().await;
        let state = cluster.peers[2].folder.join("state");
        let backup = cluster.peers[2].folder.join("backup");
        let copied = Command::new("cp")
            .arg("-a")
            .args([&state, &backup])
            .status();
        assert!(copied.unwrap().success());
        let cleanup = cluster.peers[2].command(&["state", "cleanup", "--force"]);
        assert!({ cleanup }.output().unwrap().status.success());
        cluster.restart(2).await;
        cluster.all_see_each_other().await;

        cluster.peers[2].stop().await;
        std::fs::rename(&state, cluster.peers[2].folder.join("new")).unwrap();
        std::fs::rename(&backup, &state).unwrap();
        assert_eq!(cluster.starts_and_ends(2).await, Some(1));
        let log = cluster.peers[2].log();
        assert!(log.contains("a former life of this peer"), "{log}");
        assert!(log.contains("state cleanup"), "{log}");

        // What it had was not touched, and the others go on.
        assert!(state.exists());
        let cid = missing();
        let pinned = cluster.peers[0].rest("POST", &format!("/pins/{cid}")).await;
        assert_eq!(pinned.unwrap().status, 200);
    });
}
