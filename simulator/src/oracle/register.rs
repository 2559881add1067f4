//! A history, sorted into one register per CID.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::id::LogIndex;

use crate::{
    history::{Answer, Ask, Fresh, Request, Tag},
    world::Micros,
};

/// What an operation does to the register, or learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sets it.
    Write(Tag),
    /// Clears it.
    Clear,
    /// Clears it, if this is what it holds: that pin's time is over.
    Expire(Tag),
    /// Shows it.
    Read(Option<Tag>),
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// When it was sent.
    pub(super) from: Micros,
    /// When it was answered; none when it was not: it may not have been done at all.
    pub(super) to: Option<Micros>,
    /// The entry of a write; the entry that a read has seen at least.
    pub(super) index: Option<LogIndex>,
    /// Whether a write was done by that entry, not perhaps by an earlier one.
    pub(super) exact: bool,
    pub(super) kind: Kind,
}

impl Operation {
    pub(super) fn is_read(&self) -> bool {
        matches!(self.kind, Kind::Read(_))
    }
}

/// The operations of each CID that somebody wrote, in the order in which they were sent. `last` are
/// the writes that the end shows.
///
/// Unanswered pins that nobody ever saw are left out, unless they end by themselves: an order that has
/// them is one without them.
pub(super) fn registers(
    history: &[Request],
    last: impl IntoIterator<Item = Tag>,
) -> BTreeMap<u64, Vec<Operation>> {
    let mut seen = seen(history);
    seen.extend(last);
    let writes = history.iter().filter(|r| r.ask.writes());
    let mut all: BTreeMap<u64, Vec<Operation>> = writes.map(|r| (r.cid, Vec::new())).collect();
    for (number, request) in history.iter().enumerate() {
        match request.ask {
            Ask::List(Fresh::Latest) => {
                for (cid, operations) in &mut all {
                    operations.extend(read(request, *cid));
                }
            }
            Ask::Read(Fresh::Latest) => add(&mut all, request.cid, read(request, request.cid)),
            Ask::Read(_) | Ask::List(_) | Ask::Status => {}
            Ask::Unpin => add(&mut all, request.cid, unpin(request)),
            Ask::Pin | Ask::Add | Ask::Update { .. } => {
                let tag = Tag(number);
                // One that ends takes with it what it has replaced.
                let leaves_a_trace = request.may_expire.is_some() || seen.contains(&tag);
                if request.answer.is_some() || leaves_a_trace {
                    add(&mut all, request.cid, pin(request, tag));
                    add(&mut all, request.cid, expiry(request, tag));
                }
                if let Ask::Update { from } = request.ask {
                    add(&mut all, from, missed(request));
                }
            }
        }
    }
    all
}

fn add(
    all: &mut BTreeMap<u64, Vec<Operation>>,
    cid: u64,
    operations: impl IntoIterator<Item = Operation>,
) {
    if let Some(register) = all.get_mut(&cid) {
        register.extend(operations);
    }
}

/// Every write that anybody was shown.
fn seen(history: &[Request]) -> BTreeSet<Tag> {
    let mut all = BTreeSet::new();
    for request in history {
        if let Some((_, Answer::Seen { pins, .. })) = &request.answer {
            all.extend(pins.values());
        }
    }
    all
}

fn read(request: &Request, cid: u64) -> Option<Operation> {
    let (to, Answer::Seen { index, pins }) = request.answer.as_ref()? else {
        return None;
    };
    Some(Operation {
        from: request.from,
        to: Some(*to),
        index: *index,
        exact: true,
        kind: Kind::Read(pins.get(&cid).copied()),
    })
}

/// That there was nothing at the CID.
fn missed(request: &Request) -> Option<Operation> {
    let (to, Answer::NotPinned) = request.answer.as_ref()? else {
        return None;
    };
    Some(Operation {
        from: request.from,
        to: Some(*to),
        index: None,
        exact: true,
        kind: Kind::Read(None),
    })
}

/// A repeat of an unpin that was done finds nothing: so one that found nothing may have cleared.
fn unpin(request: &Request) -> Vec<Operation> {
    let (to, index) = match &request.answer {
        None | Some((_, Answer::NotPinned)) => (None, None),
        Some((to, Answer::Done { index })) => (Some(*to), *index),
        Some(_) => return Vec::new(),
    };
    let clear = Operation {
        from: request.from,
        to,
        index,
        exact: request.names_its_entry(),
        kind: Kind::Clear,
    };
    [clear].into_iter().chain(missed(request)).collect()
}

fn expiry(request: &Request, tag: Tag) -> Option<Operation> {
    Some(Operation {
        from: request.may_expire?.max(request.from),
        to: None,
        index: None,
        exact: true,
        kind: Kind::Expire(tag),
    })
}

fn pin(request: &Request, tag: Tag) -> Option<Operation> {
    let (to, index) = match &request.answer {
        None => (None, None),
        Some((to, Answer::Done { index })) => (Some(*to), *index),
        Some(_) => return None,
    };
    Some(Operation {
        from: request.from,
        to,
        index,
        exact: request.names_its_entry(),
        kind: Kind::Write(tag),
    })
}
