//! Requests of the Pinning Service API.

use super::{Box3, cid, peers, spec, unpin};
use crate::{
    command::{Command, IfRev, Outcome, Rejection},
    id::Seq,
    limits::REQUESTS_PER_PIN_MAX,
    request::{RequestId, RequestKey},
    state::query,
};

fn open(members: u8) -> Box3 {
    let mut cluster = Box3::new(members);
    cluster.done(Command::FeatureLevel { level: 2 });
    cluster
}

fn ask(id: u64, n: u8, replaces: Option<RequestKey>) -> Command {
    let mut spec = spec(n, 1, 1);
    spec.name = format!("r{id}");
    Command::Request {
        id: RequestId(id),
        spec,
        allocations: peers(&[1]),
        if_rev: IfRev::Any,
        replaces,
    }
}

fn withdraw(id: u64) -> Command {
    Command::Withdraw { id: RequestId(id) }
}

fn ids(cluster: &Box3) -> Vec<u64> {
    let (found, next) = query::requests(&cluster.model, RequestId(0), 100).unwrap();
    assert_eq!(next, None);
    found.into_iter().map(|r| r.id.0).collect()
}

fn pinned(cluster: &Box3, n: u8) -> bool {
    query::pin_by_cid(&cluster.model, &cid(n))
        .unwrap()
        .is_some()
}

#[test]
fn requests_share_a_pin_which_goes_with_the_last_of_them() {
    let mut cluster = open(2);
    cluster.done(ask(1, 5, None));
    cluster.done(ask(2, 5, None));
    assert_eq!(ids(&cluster), [1, 2]);
    assert_eq!(cluster.get(5).spec.name, "r2");
    let first = query::request(&cluster.model, RequestId(1))
        .unwrap()
        .unwrap();
    assert_eq!((first.name.as_str(), first.seq), ("r1", cluster.get(5).seq));
    cluster.done(withdraw(2));
    assert!(pinned(&cluster, 5));
    cluster.done(withdraw(1));
    assert!(!pinned(&cluster, 5) && ids(&cluster).is_empty());
    assert_eq!(cluster.rejected(withdraw(1)), Rejection::NotPinned);
}

#[test]
fn a_replacement_is_one_command() {
    let mut cluster = open(2);
    cluster.done(ask(1, 5, None));
    let old = RequestKey::Id(RequestId(1));
    let session = cluster.session();
    let changed = cluster.entry(vec![crate::command::Envelope {
        session,
        command: ask(2, 6, Some(old)),
    }]);
    assert!(matches!(changed.outcomes[..], [Outcome::Applied { .. }]));
    let seqs: Vec<Seq> = changed.changes.iter().map(|c| c.seq).collect();
    assert_eq!(seqs, [cluster.get(6).seq, Seq(1)], "both peers must look");
    assert!(!pinned(&cluster, 5) && ids(&cluster) == [2]);
    assert_eq!(
        cluster.rejected(ask(3, 7, Some(old))),
        Rejection::NotPinned,
        "it is gone, and nothing was pinned"
    );
    assert!(!pinned(&cluster, 7));
}

#[test]
fn what_others_ask_for_stays_when_one_request_is_replaced() {
    let mut cluster = open(2);
    cluster.done(ask(1, 5, None));
    cluster.done(ask(2, 5, None));
    cluster.done(ask(3, 6, Some(RequestKey::Id(RequestId(1)))));
    assert!(pinned(&cluster, 5) && pinned(&cluster, 6));
    assert_eq!(ids(&cluster), [2, 3]);
}

#[test]
fn a_replacement_by_the_same_cid_keeps_the_pin() {
    let mut cluster = open(2);
    cluster.done(ask(1, 5, None));
    cluster.done(ask(2, 5, Some(RequestKey::Id(RequestId(1)))));
    assert!(pinned(&cluster, 5) && ids(&cluster) == [2]);
    cluster.done(ask(3, 5, Some(RequestKey::Cid(cid(5)))));
    assert!(pinned(&cluster, 5) && ids(&cluster) == [3]);
}

#[test]
fn a_pin_nobody_requested_is_replaced_by_its_cid() {
    let mut cluster = open(2);
    cluster.pin(spec(5, 1, 1), &[2]);
    cluster.done(ask(1, 6, Some(RequestKey::Cid(cid(5)))));
    assert!(!pinned(&cluster, 5) && pinned(&cluster, 6));
}

#[test]
fn requests_go_with_their_pin() {
    let mut cluster = open(2);
    cluster.done(ask(1, 5, None));
    cluster.done(unpin(5));
    assert!(ids(&cluster).is_empty());
    cluster.pin(spec(5, 1, 1), &[1]);
    assert!(
        query::requests_of(&cluster.model, cluster.get(5).seq)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn ids_are_given_once_and_bounds_and_levels_are_kept() {
    let mut cluster = Box3::new(1);
    assert!(matches!(
        cluster.rejected(ask(1, 5, None)),
        Rejection::FeatureLevel {
            current: 1,
            wanted: 2
        }
    ));
    cluster.done(Command::FeatureLevel { level: 2 });
    cluster.done(ask(1, 5, None));
    assert!(matches!(
        cluster.rejected(ask(1, 6, None)),
        Rejection::Limit(_)
    ));
    for id in 2..=REQUESTS_PER_PIN_MAX as u64 {
        cluster.done(ask(id, 5, None));
    }
    assert!(matches!(
        cluster.rejected(ask(9999, 5, None)),
        Rejection::Limit(_)
    ));
    cluster.done(unpin(5));
    assert!(ids(&cluster).is_empty());
}
