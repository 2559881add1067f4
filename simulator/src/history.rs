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
    /// The answer and when it came.
    pub answer: Option<(Micros, Answer)>,
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
