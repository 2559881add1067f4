//! What clients were promised, judged by their history and the pinset at the end.
//!
//! Every CID is a register that holds the write its pin comes from, or nothing. `register` sorts a
//! history into registers, `search` looks for an order of each register's operations that explains
//! every answer (linearizability), `visible` checks that reads which name an entry, and the local
//! reads of one peer, never show less than what they must.
//!
//! A request without an answer may have been done at any time after it was sent, or never.

mod register;
mod search;
mod visible;

use std::collections::BTreeMap;

use self::{
    register::{Kind, Operation, registers},
    search::Verdict,
};
use crate::{
    history::{Request, Tag},
    invariants::Violation,
    world::Micros,
};

fn violation(property: &'static str, what: String) -> Violation {
    Violation { property, what }
}

/// Judges a history and the pinset in the end: by CID number the writes that the pins come from,
/// read at `at`. None stands for what nobody asked for. Returns how many CIDs took too long to judge.
pub fn judge(
    history: &[Request],
    pins: &BTreeMap<Option<u64>, Option<Tag>>,
    at: Micros,
) -> Result<usize, Violation> {
    no_pin_from_nowhere(history, pins)?;
    visible::check(history)?;
    let mut given_up = 0;
    let ends = pins.values().copied().flatten();
    for (cid, mut operations) in registers(history, ends) {
        let last = pins.get(&Some(cid)).copied().flatten();
        operations.push(Operation {
            from: at,
            to: Some(at + 1),
            index: None,
            exact: true,
            kind: Kind::Read(last),
        });
        let what = match search::explain(&operations) {
            Verdict::Explained => continue,
            Verdict::GivenUp => {
                given_up += 1;
                continue;
            }
            Verdict::Impossible(what) => what,
        };
        operations.pop();
        let before = search::explain(&operations);
        let property = if matches!(before, Verdict::Impossible(_)) {
            "pins-are-linearizable"
        } else {
            "acknowledged-writes-are-kept"
        };
        return Err(violation(property, format!("CID {cid}: {what}")));
    }
    Ok(given_up)
}

/// Every pin that anybody sees was asked for, of that CID and before it was seen.
fn no_pin_from_nowhere(
    history: &[Request],
    pins: &BTreeMap<Option<u64>, Option<Tag>>,
) -> Result<(), Violation> {
    let asked = |cid: u64, tag: Tag| {
        let request = history.get(tag.0);
        request.is_some_and(|r| r.cid == cid && r.ask.pins())
    };
    for request in history {
        let Some((_, crate::history::Answer::Seen { pins, .. })) = &request.answer else {
            continue;
        };
        if let Some((cid, tag)) = pins.iter().find(|(cid, tag)| !asked(**cid, **tag)) {
            let what = format!("a read showed CID {cid} pinned as {tag}, which nobody asked for");
            return Err(violation("no-pin-from-nowhere", what));
        }
    }
    for (cid, tag) in pins {
        if !cid.zip(*tag).is_some_and(|(cid, tag)| asked(cid, tag)) {
            let what = format!("CID {cid:?} is pinned as {tag:?} in the end: nobody asked for it");
            return Err(violation("no-pin-from-nowhere", what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::id::LogIndex;

    use super::*;
    use crate::history::{Answer, Ask, Fresh};

    fn request(ask: Ask, from: Micros, answer: Option<(Micros, Answer)>) -> Request {
        let (peer, cid) = (1, 1);
        Request {
            peer,
            cid,
            ask,
            from,
            may_expire: None,
            answer,
        }
    }

    fn done(to: Micros, index: u64) -> Option<(Micros, Answer)> {
        let index = Some(LogIndex(index));
        Some((to, Answer::Done { index }))
    }

    fn seen(to: Micros, pin: Option<usize>) -> Option<(Micros, Answer)> {
        let pins = pin.map(|n| (1, Tag(n))).into_iter().collect();
        Some((to, Answer::Seen { index: None, pins }))
    }

    fn verdict(history: &[Request], end: Option<usize>) -> Result<(), &'static str> {
        let pins = end.map(|n| (Some(1), Some(Tag(n)))).into_iter().collect();
        judge(history, &pins, 100).map(drop).map_err(|v| v.property)
    }

    const LOST: Result<(), &str> = Err("acknowledged-writes-are-kept");
    const READ: Ask = Ask::Read(Fresh::Latest);

    #[test]
    fn an_acknowledged_pin_must_be_there() {
        let history = [request(Ask::Pin, 1, done(2, 5))];
        assert_eq!(verdict(&history, Some(0)), Ok(()));
        assert_eq!(verdict(&history, None), LOST);
    }

    #[test]
    fn an_unanswered_unpin_may_have_been_done() {
        let history = [
            request(Ask::Pin, 1, done(2, 5)),
            request(Ask::Unpin, 3, None),
        ];
        assert_eq!(verdict(&history, Some(0)), Ok(()));
        assert_eq!(verdict(&history, None), Ok(()));
    }

    #[test]
    fn an_acknowledged_unpin_does_not_come_undone() {
        let history = [
            request(Ask::Pin, 1, done(2, 5)),
            request(Ask::Unpin, 3, done(4, 6)),
        ];
        assert_eq!(verdict(&history, None), Ok(()));
        assert_eq!(verdict(&history, Some(0)), LOST);
        let nowhere = Err("no-pin-from-nowhere");
        assert_eq!(verdict(&history, Some(7)), nowhere);
    }

    #[test]
    fn a_pin_ends_by_itself_when_its_time_is_over_and_not_before() {
        let mut pin = request(Ask::Pin, 1, done(2, 5));
        pin.may_expire = Some(50);
        let read = |at| request(READ, at, seen(at + 1, None));
        assert_eq!(verdict(&[pin.clone()], None), Ok(()));
        assert_eq!(verdict(&[pin.clone()], Some(0)), Ok(()));
        assert_eq!(verdict(&[pin.clone(), read(60)], None), Ok(()));
        let early = Err("pins-are-linearizable");
        assert_eq!(verdict(&[pin.clone(), read(40)], None), early);
        // Another pin of the CID does not end with it.
        let again = request(Ask::Pin, 3, done(4, 6));
        assert_eq!(verdict(&[pin, again], None), LOST);
    }

    #[test]
    fn an_unanswered_pin_that_ended_unseen_took_another_with_it() {
        let mut unanswered = request(Ask::Pin, 3, None);
        unanswered.may_expire = Some(50);
        let history = [request(Ask::Pin, 1, done(2, 5)), unanswered];
        assert_eq!(verdict(&history, None), Ok(()));
        assert_eq!(verdict(&history, Some(0)), Ok(()));
        // Before its time is over it has taken nothing.
        let mut early = history.to_vec();
        early.push(request(READ, 10, seen(11, None)));
        assert_eq!(verdict(&early, None), Err("pins-are-linearizable"));
    }

    #[test]
    fn an_unanswered_pin_may_come_late() {
        let history = [
            request(Ask::Pin, 1, None),
            request(Ask::Pin, 2, done(3, 5)),
            request(READ, 4, seen(5, Some(1))),
        ];
        assert_eq!(verdict(&history, Some(0)), Ok(()));
        assert_eq!(verdict(&history, Some(1)), Ok(()));
        assert_eq!(verdict(&history, None), LOST);
    }

    #[test]
    fn a_stale_read_is_found_unless_it_was_a_local_one() {
        let read = |ask, from| {
            [
                request(Ask::Pin, 1, done(3, 5)),
                request(ask, from, seen(9, None)),
            ]
        };
        assert_eq!(verdict(&read(READ, 2), Some(0)), Ok(()));
        let stale = Err("pins-are-linearizable");
        assert_eq!(verdict(&read(READ, 4), Some(0)), stale);
        assert_eq!(verdict(&read(Ask::Read(Fresh::Local), 4), Some(0)), Ok(()));
    }

    #[test]
    fn reads_that_contradict_each_other_are_found() {
        let mut history = [
            request(Ask::Pin, 1, done(20, 5)),
            request(READ, 2, seen(3, Some(0))),
            request(READ, 4, seen(5, None)),
        ];
        // At another peer: at one and the same, reads never go back in any case.
        history[2].peer = 2;
        assert_eq!(verdict(&history, Some(0)), Err("pins-are-linearizable"));
    }

    #[test]
    fn the_log_orders_writes_that_overlap() {
        let history = |first, second| {
            [
                request(Ask::Pin, 1, done(9, first)),
                request(Ask::Pin, 1, done(9, second)),
            ]
        };
        assert_eq!(verdict(&history(5, 6), Some(1)), Ok(()));
        assert_eq!(verdict(&history(6, 5), Some(1)), LOST);
    }

    #[test]
    fn a_write_that_was_repeated_may_stand_before_the_entry_it_names() {
        let pin = |to, index| request(Ask::Pin, 1, done(to, index));
        let unpin = request(Ask::Unpin, 2, done(3, 6));
        assert_eq!(verdict(&[pin(9, 7), unpin.clone()], None), LOST);
        let late = 100_000;
        let history = [pin(late, 7), unpin];
        let judged = judge(&history, &BTreeMap::new(), 2 * late);
        assert_eq!(judged.map_err(|v| v.property), Ok(0));
    }

    #[test]
    fn a_write_that_is_acknowledged_before_another_begins_stands_before_it_in_the_log() {
        let history = [
            request(Ask::Pin, 1, done(2, 6)),
            request(Ask::Pin, 3, done(4, 5)),
        ];
        assert_eq!(verdict(&history, Some(1)), Err("pins-are-linearizable"));
    }

    #[test]
    fn a_pin_nobody_asked_for_is_found() {
        let pins = [(None, None)].into();
        let verdict = judge(&[], &pins, 9).map(drop).map_err(|v| v.property);
        assert_eq!(verdict, Err("no-pin-from-nowhere"));
    }
}
