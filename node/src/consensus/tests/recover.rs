//! A majority is lost for good.

#![allow(
    clippy::disallowed_methods,
    reason = "the test plays the disk's bad luck"
)]

use std::{collections::BTreeSet, time::Duration};

use ipfs_cluster_protocol::{
    id::{PeerId, Seq},
    state::{check_invariants, query},
};
use tokio::time::timeout;

use super::cluster::{
    Bench, PATIENCE, cid, is_pinned, leader, must_pin, peer, pin, propose, soon, wait,
};
use crate::{
    consensus::{
        Consensus, LeftBehind, Offline, ProposeError, RecoverError, Recovery, Role, Survey,
    },
    env::real,
};

impl Bench {
    async fn recover(&self, n: u64, keep: &[PeerId]) -> Survey {
        let recovery = self.survey(n, keep).await.unwrap();
        let survey = recovery.of().clone();
        recovery.carry_out(&real::env()).await.unwrap();
        survey
    }

    async fn survey(&self, n: u64, keep: &[PeerId]) -> Result<Recovery, RecoverError> {
        Recovery::survey(&real::env(), &self.folder(n), &peer(n), keep).await
    }
}

async fn stop(peers: impl IntoIterator<Item = Consensus>) {
    for p in peers {
        p.shutdown().await;
    }
}

async fn leads(c: &Consensus) {
    wait(c, |s| s.role == Role::Leader && !s.recovering).await;
}

/// Waits until a peer knows that it was left behind.
async fn left_behind(c: &Consensus) -> LeftBehind {
    let known = async {
        loop {
            if let Some(why) = c.left_behind() {
                return why;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, known).await.unwrap()
}

async fn seq(c: &Consensus, n: u32) -> Seq {
    let found = c.state().read(move |s| query::pin_by_cid(s, &cid(n)));
    found.await.unwrap().unwrap().seq
}

async fn members(c: &Consensus) -> BTreeSet<PeerId> {
    let found = c.state().read(|s| query::members(s)).await.unwrap();
    found.into_iter().map(|m| m.peer).collect()
}

#[tokio::test]
async fn one_survivor_goes_on_another_joins_and_the_lost_ones_are_fenced_off() {
    let bench = Bench::new();
    let peers = bench.cluster(5).await;
    let done = must_pin(leader(&peers), 1).await;
    for p in &peers {
        p.wait_applied(done.index, soon()).await.unwrap();
    }
    let before = peers[0].identity().unwrap();
    stop(peers).await;

    let survey = bench.recover(1, &[peer(2)]).await;
    assert_eq!(survey.identity, before);
    assert!(survey.last.index >= done.index.0 && survey.epoch > before.epoch);
    let named = |ms: &[super::super::Survivor]| ms.iter().map(|m| m.peer.clone()).collect();
    let (stay, leave): (BTreeSet<_>, BTreeSet<_>) = (named(&survey.stay), named(&survey.leave));
    assert_eq!(stay, BTreeSet::from([peer(2)]));
    assert_eq!(leave, BTreeSet::from([peer(3), peer(4), peer(5)]));

    let first = bench.open(1).await;
    leads(&first).await;
    must_pin(&first, 2).await;
    assert!(is_pinned(&first, 1).await);
    let after = first.identity().unwrap();
    assert_eq!((after.cluster, after.epoch), (before.cluster, survey.epoch));
    assert_eq!(members(&first).await, BTreeSet::from([peer(1), peer(2)]));
    let voters = first.status().borrow().voters.clone();
    assert_eq!(voters, BTreeSet::from([peer(1)]));
    assert!(seq(&first, 2).await >= Seq(survey.epoch.0 << 32));

    std::fs::remove_dir_all(bench.folder(2)).unwrap();
    let second = bench.open(2).await;
    let joined = second.join(&[peer(1)], soon()).await.unwrap();
    assert_eq!(
        (joined.cluster, joined.epoch),
        (before.cluster, survey.epoch)
    );
    let done = must_pin(&first, 3).await;
    second.wait_applied(done.index, soon()).await.unwrap();
    for n in 1..=3 {
        assert!(is_pinned(&second, n).await);
    }
    let lives = members(&second).await;
    assert_eq!(lives, BTreeSet::from([peer(1), peer(2)]));

    // Three of five are a majority of the old cluster, until they meet a recovered peer.
    let mut old = Vec::new();
    for n in 3..=5 {
        old.push(bench.open(n).await);
    }
    for p in &old {
        wait(p, |s| s.leader.is_some()).await;
    }
    let lead = leader(&old);
    let why = left_behind(lead).await;
    assert_eq!((why.ours, why.later), (before.epoch, survey.epoch));
    assert_eq!(
        propose(lead, pin(9)).await,
        Err(ProposeError::LeftBehind(why))
    );
    let text = why.to_string();
    assert!(
        text.contains("state cleanup") && text.contains("--bootstrap"),
        "{text}"
    );

    // It knows so after a restart, too, when nobody tells it.
    let n = (3..=5).find(|n| peer(*n) == lead.0.links.local()).unwrap();
    stop(old).await;
    stop([first, second]).await;
    let again = bench.open(n).await;
    assert_eq!(again.left_behind(), Some(why));
    stop([again]).await;
    let asked = bench.survey(n, &[]).await.unwrap();
    assert_eq!(asked.of().left_behind, Some(why));
    assert!(asked.of().epoch > survey.epoch);
}

#[tokio::test]
async fn what_is_in_the_log_of_the_survivor_alone_is_kept_and_an_export_says_that_it_is_there() {
    let bench = Bench::new();
    let mut peers = bench.cluster(3).await;
    let at = peers
        .iter()
        .position(|p| p.status().borrow().role == Role::Leader)
        .unwrap();
    let lead = peers.remove(at);
    let n = (1..=3).find(|n| peer(*n) == lead.0.links.local()).unwrap();
    must_pin(&lead, 1).await;
    let before = lead.status().borrow().last_index;
    stop(peers).await;
    let asked = {
        let lead = lead.clone();
        tokio::spawn(async move { propose(&lead, pin(2)).await })
    };
    wait(&lead, |s| s.last_index > before).await;
    lead.shutdown().await;
    assert_eq!(asked.await.unwrap(), Err(ProposeError::Unknown));
    drop(lead);

    let offline = Offline::open(&real::env(), &bench.folder(n)).await.unwrap();
    let left = offline.settle(&peer(n)).await.unwrap().unwrap();
    assert!(left.first > before && left.commands >= 1, "{left:?}");
    let found = offline.state().read(|s| {
        let of = |n| query::pin_by_cid(s, &cid(n));
        Ok((of(1)?.is_some(), of(2)?.is_some()))
    });
    assert_eq!(found.await.unwrap(), (true, false));
    offline.close().await.unwrap();

    bench.recover(n, &[]).await;
    let alone = bench.open(n).await;
    leads(&alone).await;
    assert!(is_pinned(&alone, 2).await);
    assert_eq!(members(&alone).await, BTreeSet::from([peer(n)]));
    let sound = alone.state().read(|s| Ok(check_invariants(s).is_ok()));
    assert!(sound.await.unwrap());
    alone.shutdown().await;
    drop(alone);

    // The log of the only voter is settled, whatever was written down of its commits.
    let offline = Offline::open(&real::env(), &bench.folder(n)).await.unwrap();
    assert_eq!(offline.settle(&peer(n)).await.unwrap(), None);
}

#[tokio::test]
async fn two_survivors_recovered_apart_never_mix() {
    let bench = Bench::new();
    let peers = bench.cluster(3).await;
    must_pin(leader(&peers), 1).await;
    stop(peers).await;
    let one = bench.recover(1, &[peer(2)]).await;
    let two = bench.recover(2, &[peer(1)]).await;
    assert_ne!(one.epoch, two.epoch);
    let (a, b) = (bench.open(1).await, bench.open(2).await);
    let (low, high) = if one.epoch < two.epoch {
        (a, b)
    } else {
        (b, a)
    };
    leads(&high).await;
    let why = left_behind(&low).await;
    assert_eq!(why.later, high.epoch());
    must_pin(&high, 2).await;
    assert_eq!(
        propose(&low, pin(3)).await,
        Err(ProposeError::LeftBehind(why))
    );
    assert_eq!(high.left_behind(), None);
}

#[tokio::test]
async fn a_recovery_that_makes_no_sense_is_refused() {
    let bench = Bench::new();
    let nothing = bench.survey(9, &[]).await.unwrap_err();
    assert!(matches!(nothing, RecoverError::NoLog(_)), "{nothing}");
    let peers = bench.cluster(2).await;
    let running = bench.survey(1, &[]).await.unwrap_err();
    assert!(running.to_string().contains("in use"), "{running}");
    let remove = peers[0].remove_member(peer(2), soon()).await.unwrap();
    peers[0].wait_applied(remove, soon()).await.unwrap();
    stop(peers).await;
    let unknown = bench.survey(1, &[peer(2)]).await.unwrap_err().to_string();
    assert!(unknown.contains(&peer(2).to_string()), "{unknown}");
    assert!(unknown.contains("(peer 1)"), "{unknown}");
    // What is asked and not carried out changes nothing.
    drop(bench.survey(1, &[]).await.unwrap());
    let again = bench.open(1).await;
    leads(&again).await;
    assert_eq!(again.left_behind(), None);
    must_pin(&again, 4).await;
}
