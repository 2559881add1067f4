//! What clients asked and what they were told: the evidence the oracle judges.
//!
//! Every write of a pin gives it a name of its own, the request's number: whoever sees the pin
//! knows which write it was.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipfs_cluster_protocol::id::LogIndex;

use crate::world::{HostId, Micros};

/// Which write a pin comes from: the number of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub usize);

impl Tag {
    /// The tag in the name of a pin; none when no client wrote it.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        name.strip_prefix('w')?.parse().ok().map(Self)
    }
}

/// As the name of a pin.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// What a read must show at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// What the peer asked has applied.
    Local,
    /// Everything up to this entry.
    Index(LogIndex),
    /// Everything acknowledged before the read was sent.
    Latest,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Pin it.
    Pin,
    /// Pin it with the options of another CID.
    Update {
        /// The other CID (number).
        from: u64,
    },
    /// Upload it, which pins it.
    Add,
    /// Unpin it.
    Unpin,
    /// How is it pinned?
    Read(Fresh),
    /// What is pinned, of all CIDs?
    List(Fresh),
    /// How far has it come?
    Status,
}

impl Ask {
    /// Whether it changes what is pinned.
    #[must_use]
    pub fn writes(self) -> bool {
        self.pins() || self == Self::Unpin
    }

    /// Whether it makes a pin of the CID.
    #[must_use]
    pub fn pins(self) -> bool {
        matches!(self, Self::Pin | Self::Update { .. } | Self::Add)
    }
}

/// What a client is told. A request without an answer may have been done, and may yet be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged.
    Done {
        /// The entry of the log, where the answer names it.
        index: Option<LogIndex>,
    },
    /// There was nothing to unpin or to take the options from.
    NotPinned,
    /// Nothing was done.
    Refused,
    /// Answered, with nothing that could be judged.
    Shown,
    /// The pins seen, of the CID asked for or of all.
    Seen {
        /// How far the state had come at least, where the answer says so.
        index: Option<LogIndex>,
        /// By CID number.
        pins: BTreeMap<u64, Tag>,
    },
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// At which peer.
    pub peer: HostId,
    /// Of which CID (number).
    pub cid: u64,
    /// What.
    pub ask: Ask,
    /// When it was sent.
    pub from: Micros,
    /// From when on the pin that it makes may be over by itself; none if it never is.
    pub may_expire: Option<Micros>,
    /// The answer and when it came.
    pub answer: Option<(Micros, Answer)>,
}

/// A write that was answered sooner than this was not repeated: its answer names the entry that did
/// it. The answer of one that a peer had to send again may name the entry of the repeat, which did
/// nothing because the first try had.
const NO_REPEAT_US: Micros = 30_000;

impl Request {
    /// Whether the entry that the answer names is surely the one that did it, not a later one.
    #[must_use]
    pub fn names_its_entry(&self) -> bool {
        let answered = self.answer.as_ref().map(|(to, _)| *to);
        answered.is_some_and(|to| to < self.from + NO_REPEAT_US)
    }
}

/// Marks the updates that may have inherited the end of the pin whose options they took.
pub fn inherit_ends(history: &mut [Request]) {
    loop {
        let mut mortal: BTreeMap<u64, Micros> = BTreeMap::new();
        for request in history.iter() {
            if let Some(at) = request.may_expire {
                let first = mortal.entry(request.cid).or_insert(at);
                *first = at.min(*first);
            }
        }
        let mut changed = false;
        for request in history.iter_mut() {
            let Ask::Update { from } = request.ask else {
                continue;
            };
            let end = mortal.get(&from).copied();
            if end.is_some_and(|end| request.may_expire.is_none_or(|at| at > end)) {
                request.may_expire = end;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// All requests of a run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Vec<Request>>>);

impl History {
    /// The requests, in the order in which they were sent.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; returns its number.
    #[must_use]
    pub fn begin(&self, request: Request) -> usize {
        let mut all = self.lock();
        all.push(request);
        all.len() - 1
    }

    /// Adds the answer.
    pub fn end(&self, number: usize, at: Micros, answer: Answer) {
        if let Some(request) = self.lock().get_mut(number) {
            request.answer = Some((at, answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_inherit_the_end_of_their_source() {
        let request = |cid, ask, may_expire| Request {
            peer: 1,
            cid,
            ask,
            from: 1,
            may_expire,
            answer: None,
        };
        let mut history = [
            request(3, Ask::Update { from: 2 }, None),
            request(2, Ask::Update { from: 1 }, None),
            request(1, Ask::Pin, Some(9)),
            request(4, Ask::Update { from: 5 }, None),
        ];
        inherit_ends(&mut history);
        let ends = history.map(|request| request.may_expire);
        assert_eq!(ends, [Some(9), Some(9), Some(9), None]);
    }
}
