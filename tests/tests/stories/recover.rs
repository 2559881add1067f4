//! A majority is lost for good.

use std::time::Duration;

use ipfs_cluster_tests::{Cluster, Peer, Setup, missing, random, until};

use crate::{add, cat, tell};

/// Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command of the program that must succeed; what it printed.
fn run(peer: &Peer, args: &[&str]) -> String {
    let output = peer.command(args).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {err}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The epoch that an accepted pin names.
async fn pinned_in(peer: &Peer) -> u64 {
    let answer = peer.rest("POST", &format!("/pins/{}", missing())).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-cluster-epoch").unwrap().parse().unwrap()
}

/// Waits until a peer refuses writes because its epoch is over, and says so of itself.
async fn until_left_behind(peer: &Peer, epoch: u64) {
    let later = format!("goes on in epoch {epoch}");
    let what = format!("{} knows that it was left behind", peer.name);
    until(&what, LIMIT, || async {
        let id = peer.rest("GET", "/id").await.map_err(|e| e.to_string())?;
        let id: serde_json::Value = id.json().map_err(|e| e.to_string())?;
        let error = id["error"].as_str().unwrap_or_default();
        if error.contains(&later) {
            Ok(())
        } else {
            Err(format!("it says {error:?} of itself"))
        }
    })
    .await;
    let write = peer.rest("POST", &format!("/pins/{}", missing())).await;
    let write = write.unwrap();
    assert_eq!(write.status, 503, "{}", write.text());
    let text = write.text();
    assert!(
        text.contains("in epoch 1") && text.contains(&later),
        "{text}"
    );
    assert!(text.contains("state cleanup"), "{text}");
    assert!(peer.log().contains("left behind"), "{}", peer.log_tail());
}

#[test]
fn three_of_five_are_lost_two_go_on_and_the_old_ones_are_fenced_off() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(5)).await;
        let bytes = random(200_000);
        let before = add(&cluster.peers[0], "", &bytes).await;
        cluster.until_status(0, &before, "pinned", 5).await;
        let ids: Vec<String> = cluster
            .peers
            .iter()
            .map(|p| p.addresses().id.clone())
            .collect();
        for peer in &mut cluster.peers {
            peer.kill();
        }

        // The first survivor goes on, alone at first.
        let said = run(
            &cluster.peers[0],
            &["raft", "recover", "--force", "--peers", &ids[1]],
        );
        for lost in &ids[2..] {
            assert!(said.contains(lost), "{said}");
        }
        assert!(
            said.contains("Lost: changes that only other peers have"),
            "{said}"
        );
        assert!(said.contains("still form the old cluster"), "{said}");
        cluster.restart(0).await;
        let epoch = pinned_in(&cluster.peers[0]).await;
        assert!(
            epoch > 1 && said.contains(&format!("The epoch rises to {epoch}")),
            "{said}"
        );

        // The second one is given the state, and what it has pinned counts.
        run(&cluster.peers[1], &["state", "cleanup", "--force"]);
        cluster.restart(1).await;
        cluster.all_see_each_other().await;
        cluster.until_status(1, &before, "pinned", 2).await;
        let after = add(&cluster.peers[1], "", &random(1000)).await;
        cluster.until_status(0, &after, "pinned", 2).await;
        assert!(cat(&cluster.peers[1], &before).await == bytes);
        let (_, peers, _) = cluster.peers[1].ctl(&["peers", "ls"]);
        assert!(!ids[2..].iter().any(|id| peers.contains(id)), "{peers}");

        // The lost ones come back: a majority of the old cluster, but they meet the new one.
        for old in 2..5 {
            cluster.restart(old).await;
        }
        for old in 2..5 {
            until_left_behind(&cluster.peers[old], epoch).await;
        }
        let stale = format!("/pins/{before}?min-index=1&epoch=1");
        let stale = cluster.peers[0].rest("GET", &stale).await.unwrap();
        assert_eq!(stale.status, 409, "{}", stale.text());
        assert_eq!(pinned_in(&cluster.peers[1]).await, epoch);

        // To recover one of them again would fence the living cluster off: not unasked.
        cluster.peers[3].kill();
        let again = cluster.peers[3].command(&["raft", "recover"]);
        let again = { again }.output().unwrap();
        let err = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(1));
        assert!(err.contains(&format!("epoch {epoch}")), "{err}");

        // One of them gives up its past and is welcome.
        cluster.peers[4].kill();
        run(&cluster.peers[4], &["state", "cleanup", "--force"]);
        cluster.restart(4).await;
        cluster.until_status(4, &after, "pinned", 3).await;
    });
}

#[test]
fn a_recovery_is_asked_for_and_needs_a_peer_that_does_not_run() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(1)).await;
        let running = cluster.peers[0].command(&["raft", "recover", "--force"]);
        let output = { running }.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(err.contains("error obtaining execution lock"), "{err}");
        cluster.peers[0].kill();
        // Stdin is empty: nobody says yes.
        let said = run(&cluster.peers[0], &["raft", "recover"]);
        assert!(
            said.contains("[y/n]") && said.contains("nothing was changed"),
            "{said}"
        );
        cluster.restart(0).await;
        assert_eq!(pinned_in(&cluster.peers[0]).await, 1);
    });
}
