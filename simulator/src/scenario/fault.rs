//! What can go wrong.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

use crate::{disk::Crash, span::Span, world::Rng};

/// Who is meant; settled when the fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Whoever leads then.
    Leader,
    /// One that does not lead.
    Follower,
    /// Anyone, drawn from the seed.
    Any,
    /// This one, from 1.
    Peer(usize),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "leader" => Ok(Self::Leader),
            "follower" => Ok(Self::Follower),
            "any" => Ok(Self::Any),
            number => number.parse().map(Self::Peer).map_err(|_| {
                format!("{text:?} is not \"leader\", \"follower\", \"any\" or a number")
            }),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("the leader"),
            Self::Follower => f.write_str("a follower"),
            Self::Any => f.write_str("any peer"),
            Self::Peer(n) => write!(f, "peer {n}"),
        }
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// How a peer stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashKind {
    /// `kill -9`: the disk keeps what was written, connections are reset.
    #[default]
    Kill,
    /// The plug is pulled: what was not synced may be gone, nobody is told.
    PowerLoss,
}

impl From<CrashKind> for Crash {
    fn from(kind: CrashKind) -> Self {
        match kind {
            CrashKind::Kill => Self::Kill,
            CrashKind::PowerLoss => Self::PowerLoss,
        }
    }
}

/// One thing that goes wrong, or right again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Nothing passes between these peers and the others. When none is given, the leader is alone
    /// with as many as leave the others a majority.
    Partition {
        /// One side.
        #[serde(default)]
        side: Vec<Who>,
    },
    /// The others fall into two halves that see each other only through this peer.
    Bridge {
        /// Who.
        peer: Who,
    },
    /// One peer is cut off from all others.
    Isolate {
        /// Who.
        peer: Who,
    },
    /// Nothing that one peer sends arrives; it still hears.
    Mute {
        /// Who.
        peer: Who,
    },
    /// All links pass again.
    Heal,
    /// Every connection of a peer is reset.
    Reset {
        /// Who.
        peer: Who,
    },
    /// All links of a peer are slow.
    SlowLink {
        /// Who.
        peer: Who,
        /// One-way delay; 0 makes the link as the others again.
        latency_ms: u64,
    },
    /// A peer stops without warning.
    Crash {
        /// Who.
        peer: Who,
        /// How.
        #[serde(default)]
        kind: CrashKind,
    },
    /// Peers that are stopped start again.
    Restart {
        /// One of them; all when none is given.
        #[serde(default)]
        peer: Option<Who>,
    },
    /// All peers stop at the same moment.
    Blackout {
        /// How.
        #[serde(default)]
        kind: CrashKind,
    },
    /// A disk takes this many times as long for everything.
    SlowDisk {
        /// Whose.
        peer: Who,
        /// 1 is as usual.
        times: u64,
    },
    /// A disk has no more room, or room again.
    FullDisk {
        /// Whose.
        peer: Who,
        /// Has it?
        #[serde(default = "yes")]
        full: bool,
    },
    /// The next syncs of a disk fail.
    SyncError {
        /// Whose.
        peer: Who,
        /// How many.
        times: u32,
    },
    /// A wall clock jumps, and drifts from then on.
    Clock {
        /// Whose.
        peer: Who,
        /// Seconds ahead (or behind).
        seconds: i64,
        /// Millionths it gains (or loses).
        #[serde(default)]
        drift_ppm: i64,
    },
}

fn yes() -> bool {
    true
}

/// A fault and its time.
#[derive(Debug, Clone, Deserialize)]
pub struct Timed {
    /// When, from the start of the workload.
    pub at: Span,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

impl Fault {
    /// Who is named.
    fn named(&self) -> Vec<Who> {
        match self {
            Self::Partition { side } => side.clone(),
            Self::Heal | Self::Blackout { .. } => Vec::new(),
            Self::Restart { peer } => peer.iter().copied().collect(),
            Self::Bridge { peer }
            | Self::Isolate { peer }
            | Self::Mute { peer }
            | Self::Reset { peer }
            | Self::SlowLink { peer, .. }
            | Self::Crash { peer, .. }
            | Self::SlowDisk { peer, .. }
            | Self::FullDisk { peer, .. }
            | Self::SyncError { peer, .. }
            | Self::Clock { peer, .. } => vec![*peer],
        }
    }

    pub(super) fn check(&self, peers: usize) -> Result<(), String> {
        for who in self.named() {
            if let Who::Peer(n) = who
                && !(1..=peers).contains(&n)
            {
                return Err(format!("there is no peer {n} of {peers}"));
            }
        }
        match self {
            Self::SlowLink { latency_ms, .. } if *latency_ms > 60_000 => {
                Err("latency_ms must be at most 60000".to_owned())
            }
            Self::SlowDisk { times, .. } if !(1..=10_000).contains(times) => {
                Err("times must be 1 to 10000".to_owned())
            }
            Self::Clock {
                seconds, drift_ppm, ..
            } if seconds.abs() > 1_000_000 || drift_ppm.abs() > 100_000 => {
                Err("seconds must be within a million, drift_ppm within 100000".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// One drawn from the seed. `down` are the peers that earlier ones have stopped.
    pub(super) fn draw(rng: &mut Rng, peers: usize, down: &mut BTreeSet<usize>) -> Self {
        let all: Vec<usize> = (1..=peers).collect();
        let number = rng.pick(&all).copied().unwrap_or(1);
        let peer = Who::Peer(number);
        let kind = if rng.chance(500_000) {
            CrashKind::PowerLoss
        } else {
            CrashKind::Kill
        };
        match rng.between(0, 15) {
            0 => Self::Partition { side: Vec::new() },
            1 => Self::Partition {
                side: all
                    .iter()
                    .filter(|_| rng.chance(500_000))
                    .map(|n| Who::Peer(*n))
                    .collect(),
            },
            2 => Self::Isolate { peer: Who::Leader },
            3 => Self::Mute { peer },
            4 => Self::Reset { peer },
            5 => Self::SlowLink {
                peer,
                latency_ms: rng.between(5, 300),
            },
            6 => Self::SlowDisk {
                peer,
                times: rng.between(2, 100),
            },
            7 => Self::Clock {
                peer,
                seconds: i64::try_from(rng.between(0, 120)).unwrap_or(0) - 60,
                drift_ppm: i64::try_from(rng.between(0, 400)).unwrap_or(0) - 200,
            },
            8..=10 if down.is_empty() => {
                down.insert(number);
                Self::Crash { peer, kind }
            }
            11 if rng.chance(300_000) => {
                down.extend(all);
                Self::Blackout { kind }
            }
            8..=12 => {
                down.clear();
                Self::Restart { peer: None }
            }
            13 => Self::Bridge { peer },
            _ => Self::Heal,
        }
    }
}
