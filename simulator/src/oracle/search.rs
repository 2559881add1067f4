//! Is there an order of a register's operations that explains every answer? (Wing and Gong's
//! search, with the memory that Lowe added.)
//!
//! An order keeps real time (what was answered before another was sent stands before it) and the
//! log (writes stand in the order of their entries; a read comes after the entries it has seen). A
//! read that shows what is there can always be taken at once, so the search only branches at
//! writes, and the log leaves little to branch at.

use std::collections::BTreeSet;

use ipfs_cluster_protocol::id::LogIndex;

use super::register::{Kind, Operation};
use crate::{history::Tag, world::Micros};

/// States looked at before a search is given up.
const STATES_MAX: usize = 100_000;

/// What came of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is such an order.
    Explained,
    /// There is none; the furthest that one gets.
    Impossible(String),
    /// Not found out within the bound.
    GivenUp,
}

/// A point of the search: which operations were taken, and the register then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    taken: Vec<u64>,
    /// How many of those are answered ones.
    answered: usize,
    value: Option<Tag>,
}

impl Point {
    fn has(&self, n: usize) -> bool {
        let word = self.taken.get(n / 64).copied().unwrap_or(0);
        (word >> (n % 64)) & 1 == 1
    }

    fn take(&mut self, n: usize, operation: &Operation) {
        if let Some(word) = self.taken.get_mut(n / 64) {
            *word |= 1 << (n % 64);
        }
        self.answered += usize::from(operation.to.is_some());
        match operation.kind {
            Kind::Write(tag) => self.value = Some(tag),
            Kind::Clear | Kind::Expire(_) => self.value = None,
            Kind::Read(_) => {}
        }
    }
}

/// What the operations that are not taken yet ask of the next one.
struct Frontier {
    /// The first answer among them: whatever was sent later has to wait.
    answer: Micros,
    /// The first entry among the writes.
    entry: Option<LogIndex>,
}

impl Frontier {
    fn of(operations: &[Operation], point: &Point) -> Self {
        let mut frontier = Self {
            answer: Micros::MAX,
            entry: None,
        };
        for (n, operation) in operations.iter().enumerate() {
            if point.has(n) {
                continue;
            }
            frontier.answer = frontier.answer.min(operation.to.unwrap_or(Micros::MAX));
            if let (false, Some(index)) = (operation.is_read(), operation.index) {
                frontier.entry = Some(frontier.entry.map_or(index, |e| e.min(index)));
            }
        }
        frontier
    }

    /// Whether an operation may stand next.
    fn admits(&self, operation: &Operation) -> bool {
        if operation.from > self.answer {
            return false;
        }
        match (operation.index, self.entry) {
            (Some(index), Some(entry)) if operation.is_read() => index < entry,
            (Some(index), Some(entry)) => index <= entry || !operation.exact,
            _ => true,
        }
    }
}

/// Takes every read that fits; then those that may stand next, one by one.
fn next(operations: &[Operation], mut point: Point) -> (Point, Vec<Point>) {
    loop {
        let frontier = Frontier::of(operations, &point);
        let value = point.value;
        let fits = |(n, operation): &(usize, &Operation)| {
            !point.has(*n) && operation.kind == Kind::Read(value) && frontier.admits(operation)
        };
        match operations.iter().enumerate().find(fits) {
            Some((n, read)) => point.take(n, read),
            None => break,
        }
    }
    let frontier = Frontier::of(operations, &point);
    let writes = operations.iter().enumerate().filter(|(n, operation)| {
        let possible = match operation.kind {
            Kind::Read(_) => false,
            Kind::Expire(tag) => point.value == Some(tag),
            Kind::Write(_) | Kind::Clear => true,
        };
        possible && !point.has(*n) && frontier.admits(operation)
    });
    let after = writes.map(|(n, operation)| {
        let mut after = point.clone();
        after.take(n, operation);
        after
    });
    let after = after.collect();
    (point, after)
}

/// Looks for an order.
pub(super) fn explain(operations: &[Operation]) -> Verdict {
    let answered = operations.iter().filter(|o| o.to.is_some()).count();
    let mut furthest = Point {
        taken: vec![0; operations.len().div_ceil(64)],
        answered: 0,
        value: None,
    };
    let mut ahead = vec![furthest.clone()];
    let mut known = BTreeSet::new();
    while let Some(point) = ahead.pop() {
        if !known.insert(point.clone()) {
            continue;
        }
        if known.len() > STATES_MAX {
            return Verdict::GivenUp;
        }
        let (point, mut after) = next(operations, point);
        if point.answered == answered {
            return Verdict::Explained;
        }
        if point.answered > furthest.answered {
            furthest = point;
        }
        // What was sent first is tried first.
        after.reverse();
        ahead.append(&mut after);
    }
    Verdict::Impossible(describe(operations, &furthest))
}

/// What cannot be explained at the furthest point of all orders.
fn describe(operations: &[Operation], point: &Point) -> String {
    let frontier = Frontier::of(operations, point);
    let stuck = operations
        .iter()
        .enumerate()
        .filter(|(n, o)| !point.has(*n) && o.to == Some(frontier.answer))
        .map(|(_, o)| match o.kind {
            Kind::Read(Some(tag)) => format!("a read that showed {tag}"),
            Kind::Read(None) => "an answer that it is not pinned".to_owned(),
            Kind::Write(tag) => format!("the acknowledged pin {tag}"),
            Kind::Clear => "an acknowledged unpin".to_owned(),
            Kind::Expire(tag) => format!("the end of {tag}"),
        });
    let stuck = stuck.collect::<Vec<_>>().join(", ");
    let value = match point.value {
        Some(tag) => format!("pinned as {tag}"),
        None => "not pinned".to_owned(),
    };
    let (sent, answered) = operations
        .iter()
        .filter(|o| o.to == Some(frontier.answer))
        .map(|o| (o.from, frontier.answer))
        .next()
        .unwrap_or_default();
    format!(
        "after {} explained answers it is {value}; no order explains {stuck} (sent at {} ms, answered at {} ms)",
        point.answered,
        sent / 1_000,
        answered / 1_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(from: Micros, to: Micros, kind: Kind) -> Operation {
        Operation {
            from,
            to: (to > 0).then_some(to),
            index: None,
            exact: true,
            kind,
        }
    }

    #[test]
    fn many_writes_at_once_are_explained_within_the_bound() {
        let mut operations: Vec<Operation> = (0..40)
            .map(|n| operation(1, 100, Kind::Write(Tag(n))))
            .collect();
        for n in (0..40).rev() {
            let at = 200 - n as Micros;
            let unanswered = operation(1, 0, Kind::Clear);
            operations.push(unanswered);
            operations.push(operation(at, at, Kind::Read(Some(Tag(39)))));
        }
        assert_eq!(explain(&operations), Verdict::Explained);
    }

    #[test]
    fn the_text_names_what_cannot_be() {
        let operations = [
            operation(1, 2, Kind::Write(Tag(7))),
            operation(3, 4, Kind::Read(None)),
        ];
        let Verdict::Impossible(text) = explain(&operations) else {
            panic!("explained");
        };
        assert!(text.contains("pinned as w7"), "{text}");
        assert!(text.contains("not pinned"), "{text}");
    }
}
