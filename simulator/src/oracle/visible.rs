//! What a read must show at least: what an entry it names holds, and what an earlier read at the
//! same peer has shown.
//!
//! Nothing here is searched: a write's answer names its entry, so it is known which write of a CID
//! was the last one up to an entry.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{id::LogIndex, limits::LIST_PAGE_PINS};

use super::violation;
use crate::{
    history::{Answer, Ask, Fresh, Request, Tag},
    invariants::Violation,
    world::{HostId, Micros},
};

/// The acknowledged writes of one CID by entry; none stands for an unpin. Entries hold many
/// commands: of two writes in one entry it is not known which is the last, so both may be.
type Writes = BTreeMap<LogIndex, Vec<Option<Tag>>>;

/// A read and what it showed.
struct Reading<'a> {
    request: &'a Request,
    to: Micros,
    index: LogIndex,
    pins: &'a BTreeMap<u64, Tag>,
}

/// Which entry each write is, and which CIDs somebody may have written without being told.
#[derive(Default)]
struct Log {
    writes: BTreeMap<u64, Writes>,
    entries: BTreeMap<Tag, LogIndex>,
    /// When the first unanswered unpin was sent, or one that found nothing, or a pin may have ended
    /// by itself.
    open_unpins: BTreeMap<u64, Micros>,
}

impl Log {
    fn of(history: &[Request]) -> Self {
        let mut log = Self::default();
        for (number, request) in history.iter().enumerate() {
            let value = match request.ask {
                Ask::Pin | Ask::Add | Ask::Update { .. } => Some(Tag(number)),
                Ask::Unpin => None,
                Ask::Read(_) | Ask::List(_) | Ask::Status => continue,
            };
            if let Some(at) = request.may_expire {
                let first = log.open_unpins.entry(request.cid).or_insert(at);
                *first = at.min(*first);
            }
            match (&request.answer, value) {
                (Some((_, Answer::Done { index: Some(index) })), value)
                    if request.names_its_entry() =>
                {
                    let writes = log.writes.entry(request.cid).or_default();
                    writes.entry(*index).or_default().push(value);
                    log.entries.extend(value.map(|tag| (tag, *index)));
                }
                (Some((_, Answer::Refused)), _) | (_, Some(_)) => {}
                (_, None) => {
                    let first = log.open_unpins.entry(request.cid).or_insert(request.from);
                    *first = request.from.min(*first);
                }
            }
        }
        log
    }

    /// Whether `seen` can be what a CID is at an entry `at_least` or later, as shown by `to`.
    fn fits(&self, cid: u64, seen: Option<Tag>, at_least: LogIndex, to: Micros) -> bool {
        let Some(writes) = self.writes.get(&cid) else {
            return true;
        };
        let Some((entry, last)) = writes.range(..=at_least).next_back() else {
            return true;
        };
        match seen {
            // A write whose entry is not known may be the latest.
            Some(tag) => self.entries.get(&tag).is_none_or(|index| index >= entry),
            None => {
                let later = writes.range(*entry..).any(|(_, w)| w.contains(&None));
                let open = self.open_unpins.get(&cid).is_some_and(|from| *from <= to);
                later || open || last.contains(&None)
            }
        }
    }

    /// The latest entry that a reading shows.
    fn shown(&self, reading: &Reading<'_>) -> LogIndex {
        let entries = reading
            .pins
            .values()
            .filter_map(|tag| self.entries.get(tag));
        entries
            .copied()
            .max()
            .unwrap_or_default()
            .max(reading.index)
    }

    /// Says which CID a reading shows as it was before an entry.
    fn check(&self, reading: &Reading<'_>, at_least: LogIndex, why: &str) -> Result<(), Violation> {
        let request = reading.request;
        let cids = match request.ask {
            Ask::List(_) => self.writes.keys().copied().collect(),
            _ => vec![request.cid],
        };
        let stale = cids.into_iter().find(|cid| {
            let seen = reading.pins.get(cid).copied();
            !self.fits(*cid, seen, at_least, reading.to)
        });
        let Some(cid) = stale else { return Ok(()) };
        let what = format!(
            "a read of peer {} sent at {} ms {why} entry {at_least}, and showed CID {cid} as it was before: {:?}",
            request.peer,
            request.from / 1_000,
            reading.pins.get(&cid)
        );
        Err(violation("reads-never-go-back", what))
    }
}

fn reading(request: &Request) -> Option<Reading<'_>> {
    match &request.answer {
        Some((to, Answer::Seen { index, pins })) => Some(Reading {
            request,
            to: *to,
            index: index.unwrap_or_default(),
            pins,
        }),
        _ => None,
    }
}

/// Judges all reads.
pub(super) fn check(history: &[Request]) -> Result<(), Violation> {
    let log = Log::of(history);
    let mut readings: Vec<_> = history.iter().filter_map(reading).collect();
    for reading in &readings {
        let asked = match reading.request.ask {
            Ask::Read(Fresh::Index(index)) | Ask::List(Fresh::Index(index)) => index,
            _ => LogIndex(0),
        };
        log.check(reading, asked.max(reading.index), "was to show")?;
        // A list is of one moment, if it is of one page: what it shows of one CID must fit all others.
        if reading.pins.len() < LIST_PAGE_PINS {
            log.check(reading, log.shown(reading), "shows")?;
        }
    }
    readings.sort_by_key(|reading| reading.to);
    let mut ended: BTreeMap<HostId, Vec<(Micros, LogIndex)>> = BTreeMap::new();
    for reading in &readings {
        let peer = ended.entry(reading.request.peer).or_default();
        let before = peer.partition_point(|(to, _)| *to < reading.request.from);
        if let Some((_, shown)) = before.checked_sub(1).and_then(|last| peer.get(last)) {
            log.check(reading, *shown, "comes after one that showed")?;
        }
        let highest = peer.last().map(|(_, shown)| *shown).unwrap_or_default();
        peer.push((reading.to, highest.max(log.shown(reading))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(ask: Ask, cid: u64, from: Micros, answer: Answer) -> Request {
        Request {
            peer: 1,
            cid,
            ask,
            from,
            may_expire: None,
            answer: Some((from + 1, answer)),
        }
    }

    fn done(index: u64) -> Answer {
        let index = Some(LogIndex(index));
        Answer::Done { index }
    }

    fn seen(pins: &[(u64, usize)]) -> Answer {
        Answer::Seen {
            index: None,
            pins: pins.iter().map(|(cid, n)| (*cid, Tag(*n))).collect(),
        }
    }

    const LOCAL: Ask = Ask::Read(Fresh::Local);

    #[test]
    fn a_read_shows_what_its_entry_holds() {
        let verdict = |index, pins: &[(u64, usize)]| {
            let history = [
                request(Ask::Pin, 1, 1, done(5)),
                request(Ask::Pin, 1, 3, done(7)),
                request(Ask::Read(Fresh::Index(LogIndex(index))), 1, 9, seen(pins)),
            ];
            check(&history).is_ok()
        };
        assert!(verdict(5, &[(1, 0)]) && verdict(5, &[(1, 1)]) && verdict(7, &[(1, 1)]));
        assert!(!verdict(7, &[(1, 0)]) && !verdict(5, &[]));
        assert!(verdict(4, &[]));
    }

    #[test]
    fn local_reads_of_a_peer_do_not_go_back() {
        let history = |first: usize, second: usize| {
            [
                request(Ask::Pin, 1, 1, done(5)),
                request(Ask::Pin, 1, 3, done(7)),
                request(LOCAL, 1, 10, seen(&[(1, first)])),
                request(LOCAL, 1, 20, seen(&[(1, second)])),
            ]
        };
        assert!(check(&history(0, 1)).is_ok() && check(&history(0, 0)).is_ok());
        assert!(check(&history(1, 0)).is_err());
    }

    #[test]
    fn a_list_is_of_one_moment() {
        let history = |pins: &[(u64, usize)]| {
            [
                request(Ask::Pin, 1, 1, done(5)),
                request(Ask::Pin, 2, 3, done(7)),
                request(Ask::List(Fresh::Local), 0, 10, seen(pins)),
            ]
        };
        assert!(check(&history(&[(1, 0), (2, 1)])).is_ok() && check(&history(&[(1, 0)])).is_ok());
        assert!(check(&history(&[(2, 1)])).is_err());
    }

    #[test]
    fn a_list_of_several_pages_is_of_several_moments() {
        let history = |others: usize| {
            let mut all = vec![
                request(Ask::Pin, 1, 1, done(5)),
                request(Ask::Pin, 2, 3, done(7)),
            ];
            // All of it, but for a CID that was pinned before another that it shows.
            let others = (3..3 + others).map(|n| (n as u64, 99));
            let pins: Vec<(u64, usize)> = [(2, 1)].into_iter().chain(others).collect();
            all.push(request(Ask::List(Fresh::Local), 0, 10, seen(&pins)));
            all
        };
        assert!(check(&history(0)).is_err());
        assert!(check(&history(LIST_PAGE_PINS)).is_ok());
    }

    #[test]
    fn an_unpin_of_unknown_outcome_explains_an_absence() {
        let mut unpin = request(Ask::Unpin, 1, 5, Answer::Refused);
        unpin.answer = None;
        let history = [
            request(Ask::Pin, 1, 1, done(5)),
            unpin,
            request(Ask::Read(Fresh::Index(LogIndex(5))), 1, 9, seen(&[])),
        ];
        assert!(check(&history).is_ok());
    }
}
