//! Stories of members, sessions, epochs and feature levels.

use std::collections::{BTreeMap, BTreeSet};

use super::{Box3, cid, peer, peers, pin_command, spec, unpin};
use crate::{
    command::{Command, Entry, Envelope, FEATURE_LEVEL_MAX, IfRev, Outcome, Rejection, Session},
    id::{Boot, ClusterId, Epoch, Incarnation, LogIndex, MemberNo, Seq},
    limits::EPOCH_MAX,
    state::{Model, PinSet, System, apply, check_invariants, query},
    time::Timestamp,
};

fn remove(n: u8, force: bool) -> Command {
    let peer = peer(n);
    Command::RemoveMember { peer, force }
}

#[test]
fn a_member_with_pins_is_removed_only_by_force_and_leaves_no_allocation_visible() {
    let mut cluster = Box3::new(3);
    cluster.pin(spec(1, 2, 2), &[1, 3]);
    cluster.pin(spec(2, 1, 1), &[2]);
    let no = Rejection::HoldsPins {
        peer: peer(3),
        pins: 1,
    };
    assert_eq!(cluster.rejected(remove(3, false)), no);
    cluster.done(remove(3, true));
    assert_eq!(cluster.get(1).allocations, peers(&[1]));
    assert_eq!(
        cluster.rejected(remove(3, true)),
        Rejection::NotAMember(peer(3))
    );

    // What it held is remembered for the planner until it is placed again.
    let gone = query::departed(&cluster.model).unwrap();
    assert_eq!(
        (gone.len(), gone[0].to_place, gone[0].to_sweep),
        (1, 1, false)
    );
    let lost = query::pins_of(&cluster.model, PinSet::Allocated(gone[0].no), Seq(0), 9);
    assert_eq!(lost.unwrap().items, [cluster.get(1)]);
    let place = cluster.place(1, &[1, 2], &[]);
    cluster.done(place);
    let gone = query::departed(&cluster.model).unwrap();
    assert_eq!((gone[0].to_place, gone[0].to_sweep), (0, true));
    cluster.done(Command::Sweep { member: gone[0].no });
    assert_eq!(query::departed(&cluster.model).unwrap(), []);

    // It may come back, as another number.
    cluster.add(3);
    let again = query::member(&cluster.model, &peer(3)).unwrap().unwrap();
    assert_eq!(again.no, MemberNo(4));
    assert_eq!(cluster.to_hold(3), []);
}

#[test]
fn nobody_is_admitted_before_the_first_peer_is() {
    let mut cluster = Box3::new(0);
    let early = |n| Command::AddMember {
        peer: peer(n),
        incarnation: Incarnation(2),
        name: String::new(),
        labels: BTreeMap::new(),
    };
    let waits = Rejection::NotAMember(peer(1));
    assert_eq!(cluster.rejected(early(2)), waits);
    cluster.add(1);
    cluster.done(early(2));
    assert_eq!(query::members(&cluster.model).unwrap().len(), 2);
}

#[test]
fn what_a_removed_member_had_to_unpin_is_swept() {
    let mut cluster = Box3::new(3);
    for n in 1..=3 {
        cluster.pin(spec(n, 1, 2), &[2, 3]);
    }
    cluster.done(unpin(1));
    let release = cluster.place(2, &[2], &[2]);
    cluster.done(release);
    let no = query::member(&cluster.model, &peer(3)).unwrap().unwrap().no;
    assert_eq!(
        cluster.rejected(Command::Sweep { member: no }),
        Rejection::NotDeparted(no)
    );
    cluster.done(remove(3, true));
    cluster.done(Command::Sweep { member: no });
    let gone = query::departed(&cluster.model).unwrap();
    assert_eq!((gone[0].to_place, gone[0].to_sweep), (1, false));
    cluster.gone(2, &[Seq(1)]);
    assert_eq!(query::stored(&cluster.model, Seq(1)).unwrap(), None);
    cluster.done(unpin(3));
    cluster.done(Command::Sweep { member: no });
    assert_eq!(query::departed(&cluster.model).unwrap(), []);
}

#[test]
fn a_member_that_holds_nothing_leaves_without_a_trace() {
    let mut cluster = Box3::new(2);
    cluster.pin(spec(1, -1, -1), &[]);
    cluster.done(remove(2, false));
    assert_eq!(query::departed(&cluster.model).unwrap(), []);
    assert_eq!(cluster.rejected(remove(1, true)), Rejection::LastMember);
    cluster.done(unpin(1));
    assert_eq!(cluster.to_unpin(1), [Seq(1)]);
}

#[test]
fn down_up_drain_and_describe_change_the_row() {
    let mut cluster = Box3::new(2);
    let member = |c: &Box3| query::member(&c.model, &peer(2)).unwrap().unwrap();
    cluster.done(Command::Down { peer: peer(2) });
    let since = member(&cluster).down_since;
    assert_eq!(since, Some(Timestamp(cluster.clock)));
    cluster.done(Command::Down { peer: peer(2) });
    assert_eq!(member(&cluster).down_since, since);
    cluster.done(Command::Up { peer: peer(2) });
    cluster.done(Command::Drain {
        peer: peer(2),
        on: true,
    });
    let labels = BTreeMap::from([("tag:zone".to_owned(), "a".to_owned())]);
    cluster.done(Command::Describe {
        peer: peer(2),
        name: "two".into(),
        labels: labels.clone(),
    });
    let row = member(&cluster);
    assert_eq!((row.down_since, row.draining), (None, true));
    assert_eq!((row.name, row.labels), ("two".into(), labels));
    let stranger = Command::Describe {
        peer: peer(9),
        name: String::new(),
        labels: BTreeMap::new(),
    };
    assert_eq!(cluster.rejected(stranger), Rejection::NotAMember(peer(9)));
}

#[test]
fn a_wiped_peer_comes_back_as_the_same_member_with_a_new_life() {
    let mut cluster = Box3::new(2);
    cluster.pin(spec(1, 1, 1), &[2]);
    cluster.done(Command::Down { peer: peer(2) });
    let before = query::member(&cluster.model, &peer(2)).unwrap().unwrap();
    cluster.add(2);
    let after = query::member(&cluster.model, &peer(2)).unwrap().unwrap();
    assert_eq!((after.no, after.down_since), (before.no, None));
    assert!(after.incarnation > before.incarnation);
    assert_eq!(cluster.get(1).allocations, peers(&[2]));
    let old = Command::AddMember {
        peer: peer(2),
        incarnation: before.incarnation,
        name: String::new(),
        labels: BTreeMap::new(),
    };
    let current = after.incarnation;
    let stale = Rejection::StaleIncarnation {
        peer: peer(2),
        current,
    };
    assert_eq!(cluster.rejected(old), stale);
    assert!(Boot::new(after.incarnation, 1) > Boot::new(before.incarnation, 1_000_000));
}

#[test]
fn a_repeat_is_answered_and_not_done_again() {
    let mut cluster = Box3::new(2);
    let session = cluster.session();
    let command = pin_command(spec(1, 1, 1), &[1], IfRev::Any);
    let Outcome::Applied { rev } = cluster.say(session.clone(), command.clone()) else {
        panic!("not applied");
    };
    cluster.done(unpin(1));
    assert_eq!(cluster.say(session, command), Outcome::AlreadyAt { rev });
    assert_eq!(query::pin_by_cid(&cluster.model, &cid(1)).unwrap(), None);
}

#[test]
fn a_conflict_does_not_use_the_request_up() {
    let mut cluster = Box3::new(2);
    let rev = cluster.pin(spec(1, 1, 1), &[1]);
    let session = cluster.session();
    let stale = pin_command(spec(1, 1, 1), &[2], IfRev::Absent);
    let current = Some(rev);
    assert_eq!(
        cluster.say(session.clone(), stale),
        Outcome::Conflict { current }
    );
    let fresh = pin_command(spec(1, 1, 1), &[2], IfRev::Is(rev));
    assert!(matches!(
        cluster.say(session, fresh),
        Outcome::Applied { .. }
    ));
}

#[test]
fn only_members_speak_and_only_after_init() {
    let mut model = Model::default();
    let session = Session {
        origin: peer(9),
        boot: Boot(1),
        n: 1,
        floor: 0,
    };
    let mut index = 0;
    let mut say = |command: Command| {
        index += 1;
        let session = session.clone();
        let commands = vec![Envelope { session, command }];
        let at = Timestamp(1);
        let applied = apply(&mut model, LogIndex(index), &Entry { at, commands }).unwrap();
        check_invariants(&model).unwrap();
        applied.outcomes[0].clone()
    };
    assert_eq!(say(unpin(1)), Outcome::Rejected(Rejection::NotFormed));
    let init = Command::Init {
        cluster: ClusterId([1; 16]),
        epoch: Epoch(1),
    };
    assert!(matches!(say(init), Outcome::Applied { .. }));
    let stranger = Rejection::NotAMember(peer(9));
    assert_eq!(say(unpin(1)), Outcome::Rejected(stranger));
}

#[test]
fn cluster_epoch_and_level_only_go_forward() {
    let mut cluster = Box3::new(1);
    let init = Command::Init {
        cluster: ClusterId([8; 16]),
        epoch: Epoch(9),
    };
    assert_eq!(cluster.rejected(init), Rejection::AlreadyFormed);
    let current = Epoch(1);
    assert_eq!(
        cluster.rejected(Command::RaiseEpoch { epoch: Epoch(1) }),
        Rejection::StaleEpoch { current }
    );
    cluster.done(Command::RaiseEpoch { epoch: Epoch(5) });
    let system = System::load(&cluster.model).unwrap();
    assert_eq!(
        (system.epoch, system.cluster),
        (Epoch(5), Some(ClusterId([7; 16])))
    );
    cluster.done(Command::FeatureLevel { level: 1 });
    assert!(matches!(
        cluster.rejected(Command::FeatureLevel { level: 0 }),
        Rejection::FeatureLevel { .. }
    ));
}

#[test]
fn a_level_from_the_future_and_an_index_from_the_past_stop_the_peer() {
    let mut cluster = Box3::new(1);
    let session = cluster.session();
    let command = Command::FeatureLevel {
        level: FEATURE_LEVEL_MAX + 1,
    };
    let entry = Entry {
        at: Timestamp(1),
        commands: vec![Envelope { session, command }],
    };
    let mut model = cluster.model.clone();
    let error = apply(&mut model, LogIndex(1000), &entry).unwrap_err();
    assert!(error.to_string().contains("upgrade this peer"));
    let empty = Entry {
        at: Timestamp(1),
        commands: Vec::new(),
    };
    let last = System::load(&cluster.model).unwrap().index;
    assert!(apply(&mut cluster.model, last, &empty).is_err());
}

#[test]
fn members_and_their_texts_are_bounded() {
    let mut cluster = Box3::new(1);
    let long = Command::AddMember {
        peer: peer(2),
        incarnation: Incarnation(9),
        name: "x".repeat(1000),
        labels: BTreeMap::new(),
    };
    assert!(matches!(cluster.rejected(long), Rejection::Limit(_)));
    assert_eq!(query::members(&cluster.model).unwrap().len(), 1);
}

#[test]
fn each_epoch_numbers_its_pins_in_a_range_of_its_own() {
    let mut old = Box3::new(1);
    old.pin(spec(1, -1, -1), &[]);
    let (mut first, mut second) = (old.clone(), old.clone());
    first.done(Command::RaiseEpoch { epoch: Epoch(5) });
    second.done(Command::RaiseEpoch { epoch: Epoch(9) });
    let mut seqs = BTreeSet::new();
    for branch in [&mut old, &mut first, &mut second] {
        branch.pin(spec(2, -1, -1), &[]);
        assert!(seqs.insert(branch.get(2).seq), "{seqs:?}");
        assert_eq!(branch.get(1).seq, Seq(1));
    }
    let beyond = Epoch(EPOCH_MAX.0 + 1);
    let refused = old.rejected(Command::RaiseEpoch { epoch: beyond });
    assert!(matches!(refused, Rejection::Limit(_)), "{refused:?}");
}
