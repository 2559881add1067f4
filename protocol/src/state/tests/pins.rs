//! Stories of pins.

use super::{Box3, cid, peer, peers, pin_command, spec, unpin};
use crate::{
    command::{Command, IfRev, Outcome, Rejection},
    id::{Rev, Seq},
    limits::NAME_CHARS_MAX,
    pin::{PinMode, PinType},
    state::{PinSet, System, query},
    time::Timestamp,
};

#[test]
fn a_pin_is_found_by_everything_it_has() {
    let mut cluster = Box3::new(3);
    let mut wanted = spec(1, 2, 3);
    wanted.name = "a\0name".into();
    wanted.metadata.insert("key".into(), "v".repeat(1000));
    wanted.expire_at = Some(Timestamp(5_000_000));
    let rev = cluster.pin(wanted.clone(), &[3, 1]);
    let pin = cluster.get(1);
    assert_eq!((pin.rev, pin.seq, pin.copies), (rev, Seq(1), 2));
    assert_eq!(pin.allocations, peers(&[3, 1]));
    assert_eq!(pin.timestamp, Timestamp(cluster.clock));
    assert_eq!(pin.spec, wanted);
    let read = &cluster.model;
    let found = |page: query::Page<Seq>| page.items;
    assert_eq!(
        found(query::seqs_by_name(read, "a\0name", Seq(0), 9).unwrap()),
        [Seq(1)]
    );
    assert_eq!(
        found(query::seqs_by_name(read, "a", Seq(0), 9).unwrap()),
        []
    );
    let by_meta = query::seqs_by_meta(read, "key", &"v".repeat(1000), Seq(0), 9);
    assert_eq!(found(by_meta.unwrap()), [Seq(1)]);
    assert_eq!(query::expired(read, Timestamp(4_999_999), 9).unwrap(), []);
    assert_eq!(
        query::expired(read, Timestamp(5_000_000), 9).unwrap(),
        [(Seq(1), rev)]
    );
    assert_eq!(cluster.to_hold(1), [Seq(1)]);
    assert_eq!(cluster.to_hold(2), []);

    // All of it gives way to the next version.
    let rev = cluster.pin(spec(1, 2, 3), &[3, 1]);
    let read = &cluster.model;
    assert_eq!(
        found(query::seqs_by_name(read, "a\0name", Seq(0), 9).unwrap()),
        []
    );
    assert_eq!(query::expired(read, Timestamp(9_000_000), 9).unwrap(), []);
    assert_eq!(cluster.get(1).rev, rev);
    assert_eq!(System::load(&cluster.model).unwrap().live_pins, 1);
}

#[test]
fn a_placement_decided_from_an_older_state_is_a_conflict() {
    let mut cluster = Box3::new(3);
    let first = cluster.pin(spec(1, 1, 1), &[1]);
    let absent = pin_command(spec(1, 1, 1), &[2], IfRev::Absent);
    let conflict = |current| Outcome::Conflict { current };
    assert_eq!(cluster.run(absent.clone()), conflict(Some(first)));
    let stale = pin_command(spec(1, 1, 1), &[2], IfRev::Is(Rev(1)));
    assert_eq!(cluster.run(stale), conflict(Some(first)));
    assert_eq!(cluster.get(1).rev, first);
    cluster.done(unpin(1));
    let late = pin_command(spec(1, 1, 1), &[2], IfRev::Is(first));
    assert_eq!(cluster.run(late), conflict(None));
    cluster.done(absent);
    assert_eq!(cluster.get(1).seq, Seq(1));
}

#[test]
fn a_pin_that_is_changed_lets_nobody_go_by_itself() {
    let mut cluster = Box3::new(3);
    cluster.pin(spec(1, 1, 3), &[1, 2, 3]);
    cluster.pin(spec(1, 1, 1), &[2]);
    let pin = cluster.get(1);
    assert_eq!((pin.allocations, pin.copies), (peers(&[2, 1, 3]), 1));
    let unsettled = |c: &Box3| {
        query::seqs(&c.model, PinSet::Unsettled, Seq(0), 9)
            .unwrap()
            .items
    };
    assert_eq!(unsettled(&cluster), [Seq(1)]);

    let unsure = cluster.place(1, &[2], &[1]);
    let few = Rejection::TooFewCopies { have: 0, min: 1 };
    assert_eq!(cluster.rejected(unsure), few);
    let sure = cluster.place(1, &[2], &[2]);
    cluster.done(sure);
    assert_eq!(cluster.get(1).allocations, peers(&[2]));
    assert_eq!(unsettled(&cluster), []);
    assert_eq!(cluster.to_unpin(1), [Seq(1)]);
    cluster.gone(1, &[Seq(1)]);
    assert_eq!(
        (cluster.to_unpin(1), cluster.to_unpin(3)),
        (vec![], vec![Seq(1)])
    );
}

#[test]
fn going_from_everywhere_to_some_keeps_all_until_released() {
    let mut cluster = Box3::new(3);
    cluster.pin(spec(1, -1, -1), &[]);
    assert_eq!(cluster.to_hold(2), [Seq(1)]);
    cluster.pin(spec(1, 2, 2), &[2, 3]);
    assert_eq!(cluster.get(1).allocations, peers(&[2, 3, 1]));
    let release = cluster.place(1, &[2, 3], &[2, 3]);
    cluster.done(release);
    assert_eq!(cluster.to_unpin(1), [Seq(1)]);
    // Back to everywhere: the order to unpin is off.
    cluster.pin(spec(1, -1, -1), &[1]);
    assert_eq!(cluster.get(1).allocations, []);
    assert_eq!(
        (cluster.to_unpin(1), cluster.to_hold(1)),
        (vec![], vec![Seq(1)])
    );
    let place = cluster.place(1, &[1], &[1]);
    assert_eq!(cluster.rejected(place), Rejection::NotPlaceable);
}

#[test]
fn a_tombstone_stays_until_all_holders_say_gone_and_a_new_pin_revives_it() {
    let mut cluster = Box3::new(3);
    cluster.pin(spec(1, 2, 2), &[1, 2]);
    cluster.done(unpin(1));
    assert_eq!(cluster.rejected(unpin(1)), Rejection::NotPinned);
    assert_eq!(query::pin_by_cid(&cluster.model, &cid(1)).unwrap(), None);
    assert!(
        query::stored_by_cid(&cluster.model, &cid(1))
            .unwrap()
            .is_some()
    );
    cluster.gone(1, &[Seq(1)]);
    cluster.gone(3, &[Seq(1)]);
    assert_eq!(cluster.to_unpin(2), [Seq(1)]);
    cluster.pin(spec(1, 1, 1), &[3]);
    assert_eq!(cluster.get(1).seq, Seq(1));
    assert_eq!(cluster.to_unpin(2), [Seq(1)]);
    cluster.done(unpin(1));
    assert_eq!(
        (cluster.to_unpin(2), cluster.to_unpin(3)),
        (vec![Seq(1)], vec![Seq(1)])
    );
    cluster.gone(2, &[Seq(1)]);
    cluster.gone(3, &[Seq(1)]);
    assert_eq!(query::stored(&cluster.model, Seq(1)).unwrap(), None);
    cluster.pin(spec(1, 1, 1), &[3]);
    assert_eq!(cluster.get(1).seq, Seq(2), "a number is never given twice");
}

#[test]
fn a_report_from_before_the_last_change_does_not_count() {
    let mut cluster = Box3::new(2);
    cluster.pin(spec(1, 1, 1), &[2]);
    let removed = cluster.done(unpin(1));
    cluster.pin(spec(1, 1, 1), &[2]);
    cluster.done(unpin(1));
    let late = |as_of| Command::Gone {
        peer: peer(2),
        as_of,
        seqs: vec![Seq(1), Seq(99)],
    };
    cluster.done(late(removed));
    assert_eq!(cluster.to_unpin(2), [Seq(1)]);
    let now = System::load(&cluster.model).unwrap().rev;
    cluster.done(late(now));
    assert_eq!(cluster.to_unpin(2), []);
}

#[test]
fn only_what_has_expired_expires() {
    let mut cluster = Box3::new(1);
    let mut wanted = spec(1, 1, 1);
    wanted.expire_at = Some(Timestamp(cluster.clock + 10_000));
    let first = cluster.pin(wanted.clone(), &[1]);
    let expire = |if_rev| Command::Expire {
        seq: Seq(1),
        if_rev,
    };
    assert_eq!(cluster.rejected(expire(first)), Rejection::NotExpired);
    cluster.clock += 10_000;
    let prolonged = cluster.pin(spec(1, 1, 1), &[1]);
    let conflict = |current| Outcome::Conflict { current };
    assert_eq!(cluster.run(expire(first)), conflict(Some(prolonged)));
    assert_eq!(cluster.rejected(expire(prolonged)), Rejection::NotExpired);
    let again = cluster.pin(wanted, &[1]);
    cluster.done(expire(again));
    assert_eq!(cluster.run(expire(again)), conflict(None));
    assert_eq!(cluster.to_unpin(1), [Seq(1)]);
}

#[test]
fn the_log_time_never_falls() {
    let mut cluster = Box3::new(1);
    cluster.pin(spec(1, 1, 1), &[1]);
    let at = System::load(&cluster.model).unwrap().at;
    cluster.clock = 5;
    cluster.pin(spec(2, 1, 1), &[1]);
    assert_eq!(System::load(&cluster.model).unwrap().at, at);
    assert_eq!(cluster.get(2).timestamp, at);
}

#[test]
fn what_cannot_be_pinned_again_says_what_the_api_says() {
    let mut cluster = Box3::new(2);
    cluster.pin(spec(1, 1, 1), &[1]);
    let mut direct = spec(1, 1, 1);
    direct.mode = PinMode::Direct;
    let no = cluster.rejected(pin_command(direct.clone(), &[1], IfRev::Any));
    assert_eq!(
        no.to_string(),
        "cannot repin a CID which is already pinned in recursive mode (new pin is pinned as \
         direct). Unpin it first."
    );
    let mut meta = spec(1, 1, 1);
    meta.pin_type = PinType::Meta;
    let no = cluster.rejected(pin_command(meta.clone(), &[], IfRev::Any));
    assert_eq!(
        no.to_string(),
        "cannot repin CID with different tracking method, clear state with pin rm to proceed. \
         New: meta-pin. Was: pin"
    );
    // After the unpin both may come.
    cluster.done(unpin(1));
    cluster.pin(direct, &[1]);
    cluster.done(unpin(1));
    cluster.pin(meta, &[1]);
    assert_eq!(
        cluster.get(1).allocations,
        [],
        "a meta pin is held by nobody"
    );
}

#[test]
fn bad_placements_and_oversized_specs_are_refused() {
    let mut cluster = Box3::new(2);
    let stranger = pin_command(spec(1, 1, 2), &[1, 9], IfRev::Any);
    assert_eq!(cluster.rejected(stranger), Rejection::NotAMember(peer(9)));
    let twice = pin_command(spec(1, 2, 2), &[1, 1], IfRev::Any);
    assert_eq!(
        cluster.rejected(twice),
        Rejection::TooFewCopies { have: 1, min: 2 }
    );
    let mut long = spec(1, 1, 1);
    long.name = "é".repeat(NAME_CHARS_MAX + 1);
    let no = cluster.rejected(pin_command(long, &[1], IfRev::Any));
    assert!(matches!(no, Rejection::Limit(_)));
    assert_eq!(System::load(&cluster.model).unwrap().next_seq, Seq(1));
}

#[test]
fn pages_neither_skip_nor_repeat() {
    let mut cluster = Box3::new(2);
    for n in 1..=20 {
        cluster.pin(spec(n, 1, 1), &[1 + n % 2]);
    }
    for n in [3, 4, 11] {
        cluster.done(unpin(n));
    }
    let (mut from, mut seen) = (Some(Seq(0)), Vec::new());
    while let Some(at) = from {
        let page = query::pins(&cluster.model, at, 3, &|pin| pin.seq != Seq(7)).unwrap();
        seen.extend(page.items.iter().map(|pin| pin.seq.0));
        from = page.next;
    }
    let expected: Vec<_> = (1..=20).filter(|n| ![3, 4, 7, 11].contains(n)).collect();
    assert_eq!(seen, expected);
    let (mut from, mut seen) = (Some(Seq(0)), Vec::new());
    while let Some(at) = from {
        let no = query::member(&cluster.model, &peer(2)).unwrap().unwrap().no;
        let page = query::to_hold(&cluster.model, no, at, 2).unwrap();
        seen.extend(page.items.iter().map(|seq| seq.0));
        from = page.next;
    }
    assert_eq!(seen, [1, 5, 7, 9, 13, 15, 17, 19]);
}
