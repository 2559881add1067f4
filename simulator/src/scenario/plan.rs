//! What clients do.

use serde::Deserialize;

/// What clients do. A mix says how often each kind comes, in proportion to the others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadPlan {
    /// Requests per second that change something.
    pub writes_per_second: u64,
    /// Requests per second that ask.
    pub reads_per_second: u64,
    /// Different CIDs.
    pub cids: u64,
    /// Kinds of writes.
    pub writes: WriteMix,
    /// Kinds of reads, and what they must show.
    pub reads: ReadMix,
    /// Requests over libp2p streams, of a hundred; the others come over TCP.
    pub libp2p_percent: u64,
    /// Replication factors (min, max) that pins ask for; 0 is the cluster's default.
    pub replication: Vec<(i32, i32)>,
    /// Pins that wish for a peer, of a hundred.
    pub user_allocations_percent: u64,
    /// Pins that are to end by themselves, a few seconds later, of a hundred.
    pub expiring_percent: u64,
    /// Whether the content exists: on a node of its own, outside the cluster, that pins name as
    /// their origin. Without it only uploads are ever held by anybody.
    pub content: bool,
}

impl Default for WorkloadPlan {
    fn default() -> Self {
        Self {
            writes_per_second: 8,
            reads_per_second: 4,
            cids: 40,
            writes: WriteMix::default(),
            reads: ReadMix::default(),
            libp2p_percent: 10,
            replication: vec![(0, 0), (1, 2), (2, 2), (2, 3)],
            user_allocations_percent: 10,
            expiring_percent: 5,
            content: true,
        }
    }
}

/// Kinds of writes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteMix {
    /// Pin a CID.
    pub pin: u64,
    /// Unpin one.
    pub unpin: u64,
    /// Pin one with the options of another.
    pub update: u64,
    /// Upload its content.
    pub add: u64,
}

impl Default for WriteMix {
    fn default() -> Self {
        Self {
            pin: 60,
            unpin: 28,
            update: 7,
            add: 5,
        }
    }
}

/// Kinds of reads: what is asked (`one`, `list`, `status`), and how fresh it must be.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadMix {
    /// One pin.
    pub one: u64,
    /// All pins.
    pub list: u64,
    /// The status of one pin.
    pub status: u64,
    /// Linearizable.
    pub latest: u64,
    /// What some client was told of.
    pub index: u64,
    /// What the peer asked knows.
    pub local: u64,
}

impl Default for ReadMix {
    fn default() -> Self {
        Self {
            one: 70,
            list: 15,
            status: 15,
            latest: 60,
            index: 20,
            local: 20,
        }
    }
}

/// Requests per second of one kind at most.
const RATE_MAX: u64 = 10_000;
/// CIDs at most.
const CIDS_MAX: u64 = 100_000;

impl WorkloadPlan {
    /// Says what makes no sense.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=CIDS_MAX).contains(&self.cids) {
            return Err(format!("cids must be 1 to {CIDS_MAX}, not {}", self.cids));
        }
        for (name, rate) in [
            ("writes_per_second", self.writes_per_second),
            ("reads_per_second", self.reads_per_second),
        ] {
            if rate > RATE_MAX {
                return Err(format!("{name} must be at most {RATE_MAX}, not {rate}"));
            }
        }
        for (name, percent) in [
            ("libp2p_percent", self.libp2p_percent),
            ("user_allocations_percent", self.user_allocations_percent),
            ("expiring_percent", self.expiring_percent),
        ] {
            if percent > 100 {
                return Err(format!("{name} must be at most 100, not {percent}"));
            }
        }
        let (writes, reads) = (self.writes, self.reads);
        let sums = [
            (
                "writes",
                writes.pin + writes.unpin + writes.update + writes.add,
            ),
            ("reads", reads.one + reads.list + reads.status),
            ("reads", reads.latest + reads.index + reads.local),
        ];
        if let Some((name, _)) = sums.iter().find(|(_, sum)| *sum == 0) {
            return Err(format!("workload.{name} must leave something to ask"));
        }
        let sensible = |&(min, max): &(i32, i32)| {
            (min, max) == (0, 0) || (min, max) == (-1, -1) || (1..=max).contains(&min)
        };
        match self.replication.iter().find(|pair| !sensible(pair)) {
            Some((min, max)) => Err(format!(
                "replication [{min}, {max}] must be [0, 0] (the default), [-1, -1] (everywhere) or \
                 1 <= min <= max"
            )),
            None if self.replication.is_empty() => {
                Err("replication must hold at least one pair, such as [0, 0]".to_owned())
            }
            None => Ok(()),
        }
    }
}
