//! Peers that form, join, write, stop, are wiped, leave.

#![allow(
    clippy::disallowed_methods,
    reason = "the test plays the disk's bad luck"
)]

use std::{path::PathBuf, time::Duration};

use futures::future::join_all;
use ipfs_cluster_protocol::{
    command::{Command, Envelope, IfRev, Outcome},
    id::{Cid, PeerId},
    join::{Answer, Ask, Request},
    pin::{PinMode, PinSpec, PinType, Replication},
    state::{Table, query},
};
use openraft::async_runtime::WatchReceiver;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::mem_links::MemNet;
use crate::{
    consensus::{
        Committed, Consensus, ConsensusConfig, Profile, ProposeError, Role, join::ask_for,
        types::RaftId,
    },
    env::real,
};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Peers of one test.
pub(super) struct Bench {
    pub(super) net: MemNet,
    dir: TempDir,
}

pub(super) fn peer(n: u64) -> PeerId {
    RaftId::from(n).peer().clone()
}

pub(super) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub(super) fn pin(n: u32) -> Command {
    Command::Pin {
        spec: PinSpec {
            cid: cid(n),
            name: format!("pin {n}"),
            mode: PinMode::Recursive,
            pin_type: PinType::Data,
            replication: Replication::Everywhere,
            user_allocations: Vec::new(),
            expire_at: None,
            metadata: Default::default(),
            pin_update: None,
            origins: Vec::new(),
            shard_size: 0,
            size: 0,
            reference: None,
        },
        allocations: Vec::new(),
        if_rev: IfRev::Any,
    }
}

pub(super) fn cid(n: u32) -> Cid {
    let mut bytes = vec![0x01, 0x55, 0x12, 0x20];
    bytes.extend_from_slice(&[9; 28]);
    bytes.extend_from_slice(&n.to_be_bytes());
    Cid::from_bytes(&bytes).unwrap()
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            net: MemNet::default(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn folder(&self, n: u64) -> PathBuf {
        self.dir.path().join(n.to_string())
    }

    pub(super) async fn open(&self, n: u64) -> Consensus {
        let config = ConsensusConfig {
            config_dir: self.folder(n),
            profile: Some(Profile::Local),
            name: format!("peer {n}"),
            log_bytes_min: super::super::LOG_BYTES_MIN,
        };
        let (links, accepted) = self.net.plug(&peer(n));
        Consensus::open_on(config, real::env(), links, accepted)
            .await
            .unwrap()
    }

    /// Peers 1 to `n`, all of them in the consensus.
    pub(super) async fn cluster(&self, n: u64) -> Vec<Consensus> {
        let mut peers = vec![self.open(1).await];
        peers[0].form().await.unwrap();
        for i in 2..=n {
            let joining = self.open(i).await;
            joining.join(&[peer(1)], soon()).await.unwrap();
            peers.push(joining);
        }
        let voters = usize::try_from(n - (n + 1) % 2).unwrap();
        for p in &peers {
            wait(p, |s| {
                s.voters.len() == voters && !s.recovering && s.leader.is_some()
            })
            .await;
        }
        peers
    }
}

pub(super) async fn wait(c: &Consensus, condition: impl Fn(&crate::consensus::RaftStatus) -> bool) {
    let mut status = c.status();
    if timeout(PATIENCE, status.wait_for(|s| condition(s)))
        .await
        .is_err()
    {
        panic!("not in time: {:?}", c.status().borrow());
    }
}

pub(super) async fn propose(c: &Consensus, command: Command) -> Result<Committed, ProposeError> {
    let ticket = c.sessions().begin();
    let envelope = Envelope {
        session: ticket.session(),
        command,
    };
    c.propose_until(envelope, soon()).await
}

pub(super) async fn must_pin(c: &Consensus, n: u32) -> Committed {
    let done = propose(c, pin(n)).await.unwrap();
    assert!(matches!(done.outcome, Outcome::Applied { .. }), "{done:?}");
    done
}

pub(super) async fn is_pinned(c: &Consensus, n: u32) -> bool {
    let found = c.state().read(move |s| query::pin_by_cid(s, &cid(n)));
    found.await.unwrap().is_some()
}

/// Stops one of the peers of [`Bench::cluster`] that does not lead; its number and its id.
pub(super) async fn stop_a_follower(peers: &mut Vec<Consensus>) -> (u64, PeerId) {
    let follows = |p: &Consensus| p.status().borrow().role != Role::Leader;
    let stopped = peers.remove(peers.iter().position(follows).unwrap());
    let who = stopped.0.links.local();
    stopped.shutdown().await;
    let n = (1..).find(|n| peer(*n) == who).unwrap();
    (n, who)
}

pub(super) fn leader(peers: &[Consensus]) -> &Consensus {
    let leads = |p: &&Consensus| p.status().borrow().role == Role::Leader;
    peers.iter().find(leads).unwrap()
}

#[tokio::test]
async fn a_single_peer_forms_a_cluster_writes_and_remembers() {
    let bench = Bench::new();
    let first = bench.open(1).await;
    let identity = first.form().await.unwrap();
    let done = must_pin(&first, 1).await;
    assert!(is_pinned(&first, 1).await);
    first.shutdown().await;
    drop(first);
    let again = bench.open(1).await;
    assert_eq!(again.identity(), Some(identity));
    assert_eq!(again.form().await.unwrap(), identity);
    again.wait_applied(done.index, soon()).await.unwrap();
    wait(&again, |s| !s.recovering).await;
    assert!(is_pinned(&again, 1).await);
    must_pin(&again, 2).await;
}

#[tokio::test]
async fn what_waits_becomes_one_entry_and_each_waiter_gets_its_outcome() {
    let bench = Bench::new();
    let first = bench.open(1).await;
    first.form().await.unwrap();
    let before = must_pin(&first, 0).await;
    let all = join_all((1..=500).map(|n| propose(&first, pin(n)))).await;
    let mut revs = std::collections::BTreeSet::new();
    let mut last = before.index;
    for done in all {
        let done = done.unwrap();
        let Outcome::Applied { rev } = done.outcome else {
            panic!("{done:?}");
        };
        revs.insert(rev);
        last = last.max(done.index);
    }
    assert_eq!(revs.len(), 500);
    let entries = last.0 - before.index.0;
    assert!(entries <= 20, "{entries} entries for 500 commands");
}

#[tokio::test]
async fn three_peers_become_voters_and_survive_the_loss_of_the_leader() {
    let bench = Bench::new();
    let mut peers = bench.cluster(3).await;
    let done = must_pin(leader(&peers), 1).await;
    for p in &peers {
        p.wait_applied(done.index, soon()).await.unwrap();
        assert!(is_pinned(p, 1).await);
        assert!(p.read_barrier(soon()).await.unwrap() >= done.index);
    }
    let at = peers
        .iter()
        .position(|p| p.status().borrow().role == Role::Leader)
        .unwrap();
    let gone = peers.remove(at);
    let old = gone.status().borrow().leader.clone();
    gone.shutdown().await;
    for p in &peers {
        wait(p, |s| s.leader.is_some() && s.leader != old).await;
    }
    let done = must_pin(leader(&peers), 2).await;
    for p in &peers {
        p.wait_applied(done.index, soon()).await.unwrap();
        assert!(is_pinned(p, 2).await);
    }
}

#[tokio::test]
async fn a_leader_that_nobody_answers_takes_no_writes() {
    let bench = Bench::new();
    let mut peers = bench.cluster(3).await;
    stop_a_follower(&mut peers).await;
    stop_a_follower(&mut peers).await;
    let lead = &peers[0];
    // Until it notices, a write is in its log: what becomes of that is unknown.
    let noticed = async {
        loop {
            let ticket = lead.sessions().begin();
            let envelope = Envelope {
                session: ticket.session(),
                command: pin(1),
            };
            let brief = Instant::now() + Duration::from_millis(100);
            match lead.propose_until(envelope, brief).await {
                Err(ProposeError::Unknown) => {}
                other => return other,
            }
        }
    };
    let told = timeout(PATIENCE, noticed).await.unwrap();
    assert_eq!(told, Err(ProposeError::NotLeader { leader: None }));
    let last = lead.status().borrow().last_index;
    assert!(propose(lead, pin(2)).await.is_err());
    assert_eq!(lead.status().borrow().last_index, last);
}

#[tokio::test]
async fn a_follower_does_not_propose_and_names_the_leader() {
    let bench = Bench::new();
    let peers = bench.cluster(3).await;
    let status = peers[0].status().borrow().clone();
    let follower = peers
        .iter()
        .find(|p| p.status().borrow().role != Role::Leader)
        .unwrap();
    let refused = propose(follower, pin(1)).await;
    let leader = status.leader;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader }));
}

#[tokio::test]
async fn a_removed_peer_leaves_the_consensus() {
    let bench = Bench::new();
    let peers = bench.cluster(3).await;
    let out = peers
        .iter()
        .find(|p| p.status().borrow().role != Role::Leader)
        .unwrap();
    let out = out.0.links.local();
    let lead = leader(&peers);
    lead.remove_member(out.clone(), soon()).await.unwrap();
    wait(lead, |s| {
        !s.voters.contains(&out) && !s.stand_ins.contains(&out)
    })
    .await;
    // Two are left: one votes, one stands in.
    wait(lead, |s| s.voters.len() == 1 && s.stand_ins.len() == 1).await;
    must_pin(lead, 5).await;
}

#[tokio::test]
async fn the_only_voter_of_two_peers_steps_back_and_is_let_go() {
    let bench = Bench::new();
    let peers = bench.cluster(2).await;
    let (first, second) = (&peers[0], &peers[1]);
    wait(first, |s| s.role == Role::Leader && s.voters.len() == 1).await;
    assert!(first.step_back(soon()).await);
    wait(second, |s| s.role == Role::Leader).await;
    second.remove_member(peer(1), soon()).await.unwrap();
    second.let_go(&peer(1), soon()).await.unwrap();
    // From here on it does without the first one.
    first.shutdown().await;
    must_pin(second, 9).await;
    assert_eq!(second.members().borrow().len(), 1);
}

#[tokio::test]
async fn a_leader_that_is_taken_out_hands_over_and_is_let_go() {
    let bench = Bench::new();
    let peers = bench.cluster(2).await;
    wait(&peers[0], |s| s.role == Role::Leader).await;
    peers[0].remove_member(peer(1), soon()).await.unwrap();
    wait(&peers[1], |s| {
        s.role == Role::Leader && !s.voters.contains(&peer(1)) && !s.stand_ins.contains(&peer(1))
    })
    .await;
    must_pin(&peers[1], 9).await;
}

#[tokio::test]
async fn one_that_is_no_member_itself_says_so_at_once() {
    let bench = Bench::new();
    let (outsider, joining) = (bench.open(1).await, bench.open(2).await);
    let started = Instant::now();
    let deadline = Instant::now() + Duration::from_millis(300);
    let refused = joining.join(&[peer(1)], deadline).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("no member of a cluster itself yet"), "{text}");
    // Once it is one, it admits.
    outsider.form().await.unwrap();
    joining.join(&[peer(1)], soon()).await.unwrap();
}

#[tokio::test]
async fn peers_that_stop_at_once_do_not_wait_for_each_other() {
    let bench = Bench::new();
    let peers = bench.cluster(3).await;
    let started = Instant::now();
    join_all(peers.iter().map(Consensus::shutdown)).await;
    let took = started.elapsed();
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

#[tokio::test]
async fn a_wiped_peer_comes_back_as_another_life() {
    let bench = Bench::new();
    let mut peers = bench.cluster(3).await;
    let done = must_pin(leader(&peers), 7).await;
    let at = peers
        .iter()
        .position(|p| p.status().borrow().role != Role::Leader)
        .unwrap();
    let wiped = peers.remove(at);
    let (who, before) = (wiped.0.links.local(), wiped.identity().unwrap());
    let n = (1..=3).find(|n| peer(*n) == who).unwrap();
    wiped.shutdown().await;
    drop(wiped);
    std::fs::remove_dir_all(bench.folder(n)).unwrap();
    let fresh = bench.open(n).await;
    let via = leader(&peers).0.links.local();
    let after = fresh.join(&[via], soon()).await.unwrap();
    assert!(after.incarnation > before.incarnation);
    assert_eq!(after.cluster, before.cluster);

    // What it asked for in the meantime may arrive now: nothing is admitted by it.
    for former in [None, Some(before.incarnation)] {
        let late = Ask::Admit(Request {
            name: String::new(),
            cluster: None,
            addresses: Vec::new(),
            former,
        });
        let links = fresh.0.links.clone();
        let leader = leader(&peers).0.links.local();
        let answer = ask_for(&*links, &leader, &late).await.unwrap();
        let life = Some(after.incarnation);
        assert_eq!(answer, Answer::Known { life });
    }
    fresh.wait_applied(done.index, soon()).await.unwrap();
    assert!(is_pinned(&fresh, 7).await);
    wait(leader(&peers), |s| {
        s.voters.len() == 3 && s.voters.contains(&who)
    })
    .await;
    let lives = fresh.members().borrow().get(&who).copied();
    assert_eq!(lives, Some(after.incarnation));
}

#[tokio::test]
async fn a_peer_that_lost_its_log_alone_forms_no_second_cluster() {
    let bench = Bench::new();
    let first = bench.open(1).await;
    first.form().await.unwrap();
    first.shutdown().await;
    drop(first);
    std::fs::remove_file(bench.folder(1).join("state/raft.redb")).unwrap();
    let again = bench.open(1).await;
    assert_eq!(again.identity(), None);
    let refused = again.form().await.unwrap_err().to_string();
    assert!(refused.contains("its log is missing"), "{refused}");
}

#[tokio::test]
async fn one_that_was_cut_off_catches_up_by_snapshot_when_the_log_is_gone() {
    let bench = Bench::new();
    let mut peers = bench.cluster(3).await;
    let (n, _) = stop_a_follower(&mut peers).await;
    let lead = leader(&peers);
    let mut done = must_pin(lead, 100).await;
    for i in 101..160 {
        done = must_pin(lead, i).await;
    }
    let core = lead.core().unwrap();
    core.purge(done.index.0).await.unwrap();
    let purged = core.raft.metrics().borrow_watched().purged;
    assert_eq!(purged.map(|p| p.index), Some(done.index.0));
    let back = bench.open(n).await;
    back.wait_applied(done.index, soon()).await.unwrap();
    assert!(is_pinned(&back, 130).await);
    wait(&back, |s| !s.recovering).await;
    let done = must_pin(leader(&peers), 200).await;
    back.wait_applied(done.index, soon()).await.unwrap();
    // The file that was received is the one that is opened next.
    back.shutdown().await;
    drop(back);
    let again = bench.open(n).await;
    assert!(is_pinned(&again, 130).await);
    let rows =
        |s: &dyn ipfs_cluster_protocol::state::StateRead| s.range(Table::Pin, &[], None, 1000);
    let ours = again.state().read(rows).await.unwrap();
    again.wait_applied(done.index, soon()).await.unwrap();
    assert!(ours.len() >= 60);
}
