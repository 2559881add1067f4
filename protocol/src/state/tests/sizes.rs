//! Sizes that are learnt while pinning.

use super::{Box3, peers, pin_command, spec, unpin};
use crate::{
    command::{Command, IfRev, Rejection},
    id::{Rev, Seq},
    limits::SIZES_PER_REPORT_MAX,
    pin::PinMode,
};

fn cluster() -> Box3 {
    let mut cluster = Box3::new(3);
    cluster.done(Command::FeatureLevel { level: 3 });
    cluster
}

fn sized(seq: Seq, rev: Rev, bytes: u64) -> Command {
    Command::Sized {
        sizes: vec![(seq, rev, bytes).into()],
    }
}

#[test]
fn a_learnt_size_is_kept_and_is_no_edit_of_the_pin() {
    let mut cluster = cluster();
    cluster.pin(spec(1, 1, 1), &[1]);
    let before = cluster.get(1);
    let session = cluster.session();
    let command = sized(before.seq, before.rev, 5000);
    let applied = cluster.entry(vec![crate::command::Envelope { session, command }]);
    assert!(applied.changes.is_empty(), "nobody has to look at the pin");
    let mut after = cluster.get(1);
    assert_eq!(after.spec.size, 5000);
    after.spec.size = 0;
    assert_eq!(after, before, "its rev, time and holders are as they were");
    // Whoever decided from the pin before it was learnt is not refused for that.
    cluster.done(pin_command(spec(1, 1, 2), &[1, 2], IfRev::Is(before.rev)));
    let again = cluster.get(1);
    assert_eq!((again.spec.size, again.allocations), (5000, peers(&[1, 2])));
}

#[test]
fn the_first_count_stays_and_what_is_said_of_an_older_pin_is_left_alone() {
    let mut cluster = cluster();
    cluster.pin(spec(1, 1, 1), &[1]);
    let old = cluster.get(1);
    cluster.done(cluster.place(1, &[1, 2], &[1, 2]));
    cluster.done(sized(old.seq, old.rev, 7));
    assert_eq!(cluster.get(1).spec.size, 0, "the pin has changed since");
    let now = cluster.get(1);
    cluster.done(sized(now.seq, now.rev, 8));
    cluster.done(sized(now.seq, now.rev, 9));
    assert_eq!(cluster.get(1).spec.size, 8);
    cluster.done(unpin(1));
    cluster.done(sized(now.seq, now.rev, 9));
    cluster.done(sized(Seq(99), now.rev, 9));
    cluster.pin(spec(1, 1, 1), &[1]);
    assert_eq!(cluster.get(1).spec.size, 0, "a new pin is learnt anew");
}

#[test]
fn a_direct_pin_learns_none_and_reports_are_bounded() {
    let mut cluster = cluster();
    let mut direct = spec(1, 1, 1);
    direct.mode = PinMode::Direct;
    cluster.pin(direct, &[1]);
    let pin = cluster.get(1);
    cluster.done(sized(pin.seq, pin.rev, 9));
    assert_eq!(cluster.get(1).spec.size, 0);
    let size = (pin.seq, pin.rev, 1).into();
    let sizes = vec![size; SIZES_PER_REPORT_MAX + 1];
    let refused = cluster.rejected(Command::Sized { sizes });
    assert!(matches!(refused, Rejection::Limit(_)), "{refused:?}");
}

#[test]
fn sizes_wait_for_the_level_of_all_members() {
    let mut cluster = Box3::new(1);
    cluster.pin(spec(1, 1, 1), &[1]);
    let pin = cluster.get(1);
    let refused = cluster.rejected(sized(pin.seq, pin.rev, 9));
    assert_eq!(
        refused,
        Rejection::FeatureLevel {
            current: 1,
            wanted: 3
        }
    );
}
