//! What waits for the IPFS node: pure, it takes the time as an argument.
//!
//! Nobody can tell a dead CID from a live one but by trying it. So everything gets a first try of
//! its own, short when much waits ([`patience`]), and each lane is guaranteed a share of the
//! workers, so that no number of dead CIDs in one of them holds up another:
//!
//! | lane | what | workers |
//! |---|---|---|
//! | unpin | what must go | its own |
//! | newest, oldest | the two ends of what was not tried yet; an end that turned out dead keeps its share only | what is left |
//! | repair | not tried yet, ordered some time ago and given to this peer now: copies that are missing somewhere | its share; all, when there is nothing new |
//! | backlog | not tried yet, ordered long ago and found by a walk; from both ends | its share; all, when there is nothing else that is new |
//! | retry | failed before, after a growing pause | its share; half, when there is nothing else |

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipfs_cluster_protocol::id::Seq;

/// The first pause after a failure, in milliseconds.
const BACKOFF_MIN_MS: u64 = 2_000;
/// The longest.
const BACKOFF_MAX_MS: u64 = 10 * 60_000;
/// How long a first try waits for the first block when nothing is pressing.
pub(super) const FIRST_BLOCK_MAX: Duration = Duration::from_secs(20);
/// How long it waits however much does.
const FIRST_BLOCK_MIN: Duration = Duration::from_secs(1);
/// What waits shall have had its first try after so long, if the bounds above allow it.
const ROUND: Duration = Duration::from_secs(60);

/// Where a job was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// To be unpinned.
    Unpin,
    /// What waits longest of what was not tried yet.
    Oldest,
    /// What came last of it.
    Newest,
    /// Not tried yet, given to this peer in another's place.
    Repair,
    /// Not tried yet, ordered long ago.
    Backlog,
    /// Failed before.
    Retry,
}

/// Where a job has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// To be unpinned.
    Unpin,
    /// To be pinned.
    New,
    /// To be pinned in another peer's place.
    Repair,
    /// To be pinned, and ordered long ago.
    Backlog,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First(Kind, u64),
    Ready(u64),
    Delayed(u64, Kind),
}

/// Lanes that are guaranteed a share, in the order in which they take what is left.
const SHARERS: [Lane; 3] = [Lane::Repair, Lane::Backlog, Lane::Retry];

/// How many workers each lane has.
#[derive(Debug, Default)]
pub(super) struct Busy(BTreeMap<Lane, usize>);

impl Busy {
    /// Counts the lanes of what runs.
    pub(super) fn of(lanes: impl Iterator<Item = Lane>) -> Self {
        let mut busy = Self::default();
        for lane in lanes {
            *busy.0.entry(lane).or_default() += 1;
        }
        busy
    }

    fn at(&self, lane: Lane) -> usize {
        self.0.get(&lane).copied().unwrap_or(0)
    }

    fn pins(&self) -> usize {
        self.0.values().sum::<usize>() - self.at(Lane::Unpin)
    }
}

/// Jobs by pin: one per pin at most.
#[derive(Debug)]
pub(super) struct Queue {
    max: usize,
    /// In order of arrival.
    first: BTreeMap<Kind, BTreeMap<u64, Seq>>,
    ready: BTreeMap<u64, Seq>,
    delayed: BTreeSet<(u64, Seq)>,
    places: BTreeMap<Seq, Place>,
    tickets: u64,
    turn: u64,
    /// What was last tried from that end was dead.
    oldest_cold: bool,
    newest_cold: bool,
    /// The last one from the backlog came from its young end.
    backlog_last: bool,
}

impl Queue {
    /// Room for so many.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            first: BTreeMap::new(),
            ready: BTreeMap::new(),
            delayed: BTreeSet::new(),
            places: BTreeMap::new(),
            tickets: 0,
            turn: 0,
            oldest_cold: false,
            newest_cold: false,
            backlog_last: false,
        }
    }

    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Pins that would be fetched now if there were workers.
    pub(super) fn pressing(&self) -> usize {
        let unpins = self.first.get(&Kind::Unpin).map_or(0, BTreeMap::len);
        self.places.len() - self.delayed.len() - unpins
    }

    /// Whether a job for this pin waits.
    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.places.contains_key(&seq)
    }

    /// New work; what waits for a retry comes forward. Answers who found no room, if somebody
    /// did not: the retry that is due last, or the newcomer.
    pub(super) fn push(&mut self, seq: Seq, kind: Kind) -> Option<Seq> {
        if let Some(Place::First(waits, _)) = self.places.get(&seq)
            && *waits == kind
        {
            return None;
        }
        self.remove(seq);
        let evicted = (self.len() >= self.max).then(|| self.delayed.last().map(|(_, last)| *last));
        match evicted {
            Some(None) => return Some(seq),
            Some(Some(last)) => self.remove(last),
            None => {}
        }
        self.put_first(seq, kind);
        evicted.flatten()
    }

    fn put_first(&mut self, seq: Seq, kind: Kind) {
        let ticket = self.ticket();
        self.first.entry(kind).or_default().insert(ticket, seq);
        self.places.insert(seq, Place::First(kind, ticket));
    }

    /// Work that failed `attempts` times: it keeps the room it had. `jitter` is from 0 to 1.
    /// Unpins go back to their own lane.
    pub(super) fn retry(&mut self, seq: Seq, kind: Kind, attempts: u32, now_ms: u64, jitter: f64) {
        if self.contains(seq) {
            return;
        }
        let at = now_ms.saturating_add(backoff_ms(attempts, jitter));
        self.delayed.insert((at, seq));
        self.places.insert(seq, Place::Delayed(at, kind));
    }

    /// Nothing is to be done about it any more.
    pub(super) fn remove(&mut self, seq: Seq) {
        match self.places.remove(&seq) {
            Some(Place::First(kind, ticket)) => {
                self.first.entry(kind).or_default().remove(&ticket);
            }
            Some(Place::Ready(ticket)) => {
                self.ready.remove(&ticket);
            }
            Some(Place::Delayed(at, _)) => {
                self.delayed.remove(&(at, seq));
            }
            None => {}
        }
    }

    /// The next job, if there is a worker for it.
    pub(super) fn pop(&mut self, now_ms: u64, busy: &Busy, workers: usize) -> Option<(Seq, Lane)> {
        self.wake(now_ms);
        if busy.at(Lane::Unpin) < workers.div_ceil(2)
            && let Some(seq) = self.take(Kind::Unpin, false)
        {
            return Some((seq, Lane::Unpin));
        }
        if busy.pins() >= workers {
            return None;
        }
        let taken = self.take_pin(busy, workers)?;
        self.turn += 1;
        Some(taken)
    }

    fn take_pin(&mut self, busy: &Busy, workers: usize) -> Option<(Seq, Lane)> {
        let share = (workers / 8).max(1);
        // A few workers cannot be shared out; their time can.
        let guaranteed = workers >= 4 || self.turn % 4 == 3;
        if guaranteed {
            let mut lanes = SHARERS;
            if workers < 4 {
                lanes.rotate_left(usize::try_from(self.turn / 4 % 3).unwrap_or(0));
            }
            for lane in lanes {
                if busy.at(lane) < share
                    && let Some(seq) = self.take_from(lane)
                {
                    return Some((seq, lane));
                }
            }
        }
        let end = self.end(busy, share);
        if let Some(seq) = self.take(Kind::New, end == Lane::Newest) {
            return Some((seq, end));
        }
        let mut lanes = SHARERS.into_iter();
        lanes.find_map(|lane| {
            let most = match lane {
                Lane::Retry => (workers / 2).max(1),
                _ => workers,
            };
            let seq = (busy.at(lane) < most).then(|| self.take_from(lane));
            Some((seq.flatten()?, lane))
        })
    }

    fn take_from(&mut self, lane: Lane) -> Option<Seq> {
        match lane {
            Lane::Repair => self.take(Kind::Repair, false),
            Lane::Backlog => self.take_backlog(),
            Lane::Retry => self.take_ready(),
            Lane::Unpin | Lane::Oldest | Lane::Newest => None,
        }
    }

    /// Which end of the new work is next.
    fn end(&self, busy: &Busy, share: usize) -> Lane {
        match (self.oldest_cold, self.newest_cold) {
            (true, false) if busy.at(Lane::Oldest) >= share => Lane::Newest,
            (true, false) => Lane::Oldest,
            (false, true) if busy.at(Lane::Newest) >= share => Lane::Oldest,
            (false, true) => Lane::Newest,
            _ if busy.at(Lane::Newest) < busy.at(Lane::Oldest) => Lane::Newest,
            _ => Lane::Oldest,
        }
    }

    /// A job has ended: whether what it tried was alive.
    pub(super) fn learn(&mut self, lane: Lane, alive: bool) {
        match lane {
            Lane::Oldest => self.oldest_cold = !alive,
            Lane::Newest => self.newest_cold = !alive,
            Lane::Unpin | Lane::Repair | Lane::Backlog | Lane::Retry => {}
        }
    }

    /// When the next delayed job is due; later than the time of the last [`Self::wake`].
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// What is due is ready from now on.
    pub(super) fn wake(&mut self, now_ms: u64) {
        while let Some(&(at, seq)) = self.delayed.first() {
            if at > now_ms {
                return;
            }
            self.delayed.pop_first();
            if let Some(Place::Delayed(_, Kind::Unpin)) = self.places.get(&seq) {
                self.put_first(seq, Kind::Unpin);
                continue;
            }
            let ticket = self.ticket();
            self.ready.insert(ticket, seq);
            self.places.insert(seq, Place::Ready(ticket));
        }
    }

    fn take(&mut self, kind: Kind, last: bool) -> Option<Seq> {
        let waiting = self.first.get(&kind)?;
        let (_, seq) = if last {
            waiting.last_key_value()?
        } else {
            waiting.first_key_value()?
        };
        let seq = *seq;
        self.remove(seq);
        Some(seq)
    }

    /// From both ends in turn.
    fn take_backlog(&mut self) -> Option<Seq> {
        self.backlog_last = !self.backlog_last;
        self.take(Kind::Backlog, self.backlog_last)
    }

    fn take_ready(&mut self) -> Option<Seq> {
        let seq = *self.ready.first_key_value()?.1;
        self.remove(seq);
        Some(seq)
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }
}

/// How long a pin that gets no block keeps its worker from others: the less, the more they are.
/// Each failure doubles it, so that what is slow but alive gets through at last.
pub(super) fn patience(pressing: usize, workers: usize, attempts: u32) -> Duration {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let pressing = u32::try_from(pressing).unwrap_or(u32::MAX).max(1);
    let fair = ROUND.saturating_mul(workers) / pressing;
    fair.clamp(FIRST_BLOCK_MIN, FIRST_BLOCK_MAX) * (1 << attempts.min(10))
}

/// Doubles with each failure, within its bounds, half of it random.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "at most ten minutes of milliseconds"
)]
pub(super) fn backoff_ms(attempts: u32, jitter: f64) -> u64 {
    let doubled = BACKOFF_MIN_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let full = doubled.min(BACKOFF_MAX_MS);
    full / 2 + (full as f64 / 2.0 * jitter.clamp(0.0, 1.0)) as u64
}
