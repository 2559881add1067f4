//! What clients were promised, judged by their history and the pinset at the end.
//!
//! Every acknowledged write names the command it became (its rev): revs order all writes, so that
//! linearizability can be checked without a search. A request without an answer may have been done
//! at any time after it was sent, or never.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::id::Rev;

use crate::{
    history::{Answer, Ask, Request},
    invariants::Violation,
    world::Micros,
};

/// One acknowledged write.
#[derive(Debug, Clone, Copy)]
struct Write {
    ask: Ask,
    from: Micros,
    to: Micros,
    rev: Rev,
}

/// What is known of one CID.
#[derive(Debug, Default)]
struct Register {
    /// Acknowledged writes, in the order of their revs.
    writes: BTreeMap<Rev, Write>,
    /// Sent at, of pins and unpins of which it is not known whether they were done.
    open_pins: Vec<Micros>,
    open_unpins: Vec<Micros>,
}

fn violation(property: &'static str, what: String) -> Violation {
    Violation { property, what }
}

fn registers(history: &[Request]) -> Result<BTreeMap<u64, Register>, Violation> {
    let mut all: BTreeMap<u64, Register> = BTreeMap::new();
    let mut taken: BTreeMap<Rev, u64> = BTreeMap::new();
    for request in history {
        let register = all.entry(request.cid).or_default();
        match (request.ask, request.answer) {
            (Ask::Read, _) => {}
            (ask, Some((to, Answer::Done { rev, .. }))) => {
                if let Some(other) = taken.insert(rev, request.cid) {
                    let what = format!(
                        "rev {rev} was two writes: of CIDs {other} and {}",
                        request.cid
                    );
                    return Err(violation("one-command-per-rev", what));
                }
                let from = request.from;
                let write = Write { ask, from, to, rev };
                register.writes.insert(rev, write);
            }
            (Ask::Pin, None) => register.open_pins.push(request.from),
            (Ask::Unpin, None) => register.open_unpins.push(request.from),
            (_, Some(_)) => {}
        }
    }
    Ok(all)
}

/// A write that ended before another began has the lower rev; over all CIDs.
fn check_order(registers: &BTreeMap<u64, Register>) -> Result<(), Violation> {
    let mut writes: Vec<&Write> = registers.values().flat_map(|r| r.writes.values()).collect();
    writes.sort_by_key(|w| w.rev);
    let mut latest_start = 0;
    for write in writes {
        if write.to < latest_start {
            let what = format!(
                "the write with rev {} was acknowledged at {} µs, before one with a lower rev was sent",
                write.rev, write.to
            );
            return Err(violation("writes-are-linearizable", what));
        }
        latest_start = latest_start.max(write.from);
    }
    Ok(())
}

/// A linearizable read shows all that was acknowledged before it was sent.
fn check_reads(history: &[Request], registers: &BTreeMap<u64, Register>) -> Result<(), Violation> {
    for request in history {
        let Some((to, Answer::Seen { pin, state })) = request.answer else {
            continue;
        };
        let before = |write: &&Write| write.to < request.from;
        let all = registers.values().flat_map(|r| r.writes.values());
        if let Some(missed) = all.filter(before).map(|w| w.rev).max()
            && missed > state
        {
            let what = format!(
                "a read sent at {} µs saw the state of rev {state}, rev {missed} was acknowledged before",
                request.from
            );
            return Err(violation("reads-are-linearizable", what));
        }
        if let Some(register) = registers.get(&request.cid) {
            check_value(register, pin, state, to, request.cid)?;
        }
    }
    Ok(())
}

/// Whether a CID may look so in the state of a rev that was seen at `at`.
fn check_value(
    register: &Register,
    pin: Option<Rev>,
    state: Rev,
    at: Micros,
    cid: u64,
) -> Result<(), Violation> {
    let last = register.writes.range(..=state).next_back().map(|(_, w)| w);
    let unknown = |sent: &[Micros]| sent.iter().any(|from| *from <= at);
    let fits = match (pin, last) {
        (Some(rev), Some(last)) if rev == last.rev => last.ask == Ask::Pin,
        (Some(rev), Some(last)) if rev < last.rev => false,
        (Some(_), _) => unknown(&register.open_pins),
        (None, Some(last)) => last.ask == Ask::Unpin || unknown(&register.open_unpins),
        (None, None) => true,
    };
    if fits {
        return Ok(());
    }
    let what = format!(
        "CID {cid} in the state of rev {state}: pin {pin:?}, while the last acknowledged write is {last:?}"
    );
    Err(violation("acknowledged-writes-are-kept", what))
}

/// Judges a history and what the pinset is in the end: the pins' last changes by CID number, in the
/// state of `state`, read at `at`. A number is none when nobody asked for such a CID.
pub fn judge(
    history: &[Request],
    pins: &BTreeMap<Option<u64>, Rev>,
    state: Rev,
    at: Micros,
) -> Result<(), Violation> {
    let registers = registers(history)?;
    check_order(&registers)?;
    check_reads(history, &registers)?;
    for (cid, rev) in pins {
        if !cid.is_some_and(|cid| registers.contains_key(&cid)) {
            let what = format!("the pin with rev {rev} was asked for by nobody");
            return Err(violation("no-pin-from-nowhere", what));
        }
    }
    registers.iter().try_for_each(|(cid, register)| {
        let pin = pins.get(&Some(*cid)).copied();
        check_value(register, pin, state, at, *cid)
    })
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::id::LogIndex;

    use super::*;

    fn request(ask: Ask, from: Micros, answer: Option<(Micros, Answer)>) -> Request {
        Request {
            peer: 1,
            cid: 1,
            ask,
            from,
            answer,
        }
    }

    fn done(to: Micros, rev: u64) -> Option<(Micros, Answer)> {
        let (index, rev) = (LogIndex(rev), Rev(rev));
        Some((to, Answer::Done { index, rev }))
    }

    fn seen(to: Micros, pin: Option<u64>, state: u64) -> Option<(Micros, Answer)> {
        let (pin, state) = (pin.map(Rev), Rev(state));
        Some((to, Answer::Seen { pin, state }))
    }

    fn verdict(history: &[Request], end: Option<u64>) -> Result<(), &'static str> {
        let pins = end.map(|rev| (Some(1), Rev(rev))).into_iter().collect();
        judge(history, &pins, Rev(100), 100).map_err(|v| v.property)
    }

    #[test]
    fn an_acknowledged_pin_must_be_there() {
        let history = [request(Ask::Pin, 1, done(2, 5))];
        assert_eq!(verdict(&history, Some(5)), Ok(()));
        assert_eq!(verdict(&history, None), Err("acknowledged-writes-are-kept"));
    }

    #[test]
    fn an_unanswered_unpin_may_have_been_done() {
        let history = [
            request(Ask::Pin, 1, done(2, 5)),
            request(Ask::Unpin, 3, None),
        ];
        assert_eq!(verdict(&history, Some(5)), Ok(()));
        assert_eq!(verdict(&history, None), Ok(()));
    }

    #[test]
    fn an_acknowledged_unpin_does_not_come_undone() {
        let history = [
            request(Ask::Pin, 1, done(2, 5)),
            request(Ask::Unpin, 3, done(4, 6)),
        ];
        assert_eq!(verdict(&history, None), Ok(()));
        let lost = Err("acknowledged-writes-are-kept");
        assert_eq!(verdict(&history, Some(5)), lost);
        assert_eq!(verdict(&history, Some(7)), lost);
    }

    #[test]
    fn a_stale_read_is_found() {
        let read = |from, pin, state| {
            vec![
                request(Ask::Pin, 1, done(2, 5)),
                request(Ask::Read, from, seen(9, pin, state)),
            ]
        };
        assert_eq!(verdict(&read(3, Some(5), 5), Some(5)), Ok(()));
        assert_eq!(verdict(&read(1, None, 4), Some(5)), Ok(()));
        let stale = Err("reads-are-linearizable");
        assert_eq!(verdict(&read(3, None, 4), Some(5)), stale);
    }

    #[test]
    fn revs_follow_real_time_and_are_used_once() {
        let backwards = [
            request(Ask::Pin, 1, done(2, 6)),
            request(Ask::Pin, 3, done(4, 5)),
        ];
        assert_eq!(verdict(&backwards, Some(6)), Err("writes-are-linearizable"));
        let twice = [
            request(Ask::Pin, 1, done(2, 5)),
            request(Ask::Pin, 3, done(4, 5)),
        ];
        assert_eq!(verdict(&twice, Some(5)), Err("one-command-per-rev"));
    }

    #[test]
    fn a_pin_nobody_asked_for_is_found() {
        let pins = [(None, Rev(3))].into();
        let verdict = judge(&[], &pins, Rev(9), 9).map_err(|v| v.property);
        assert_eq!(verdict, Err("no-pin-from-nowhere"));
    }
}
