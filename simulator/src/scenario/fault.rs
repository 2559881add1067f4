//! What can go wrong.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

use super::Scenario;
use crate::{disk::Crash, span::Span, world::Rng};

/// Pins of a burst at most.
const BURST_MAX: u64 = 20_000;

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
        /// Only what that side sends is lost; it still hears.
        #[serde(default)]
        one_way: bool,
    },
    /// A zone and all others do not see each other.
    CutZone {
        /// Which.
        zone: String,
    },
    /// All peers of a zone stop at the same moment.
    LoseZone {
        /// Which.
        zone: String,
        /// How.
        #[serde(default)]
        kind: CrashKind,
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
    /// The Kubo beside a peer is in trouble, or well again.
    Ipfs {
        /// Whose.
        peer: Who,
        /// What is the matter.
        trouble: IpfsTrouble,
    },
    /// A peer stops and its disk is lost; it starts again with an empty one, as the same peer. It keeps
    /// its disk while there are no more than two voters: without its vote the cluster could not go on.
    Wipe {
        /// Who.
        peer: Who,
    },
    /// A new peer starts and joins.
    Join,
    /// A client takes a peer out of the cluster for good. Its machine is switched off first if it has lost
    /// its disk and is not a member again yet: it would join anew.
    Leave {
        /// Who.
        peer: Who,
        /// Whether it hands over its pins first.
        #[serde(default = "yes")]
        drain: bool,
    },
    /// Clients pin so many CIDs at once.
    Burst {
        /// How many.
        pins: u64,
    },
}

/// What is the matter with an IPFS node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpfsTrouble {
    /// Nothing any more.
    #[default]
    Well,
    /// It does not run.
    Down,
    /// It takes seconds for what takes milliseconds.
    Slow,
    /// What it answers is cut off, or makes no sense.
    Corrupting,
    /// It has no room.
    Full,
    /// Its repository was lost behind the peer's back: it runs on with an empty one.
    Emptied,
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
            Self::Partition { side, .. } => side.clone(),
            Self::Heal
            | Self::Blackout { .. }
            | Self::CutZone { .. }
            | Self::LoseZone { .. }
            | Self::Join
            | Self::Burst { .. } => Vec::new(),
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
            | Self::Clock { peer, .. }
            | Self::Ipfs { peer, .. }
            | Self::Wipe { peer }
            | Self::Leave { peer, .. } => vec![*peer],
        }
    }

    pub(super) fn check(&self, scenario: &Scenario) -> Result<(), String> {
        let peers = scenario.peers + scenario.joiners();
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
            Self::CutZone { zone } | Self::LoseZone { zone, .. }
                if !scenario.zones.iter().any(|z| z.name == *zone) =>
            {
                Err(format!("there is no zone {zone:?}"))
            }
            Self::Ipfs {
                peer: Who::Peer(n), ..
            } if *n <= scenario.peers - scenario.kubo || *n > scenario.peers => Err(format!(
                "peer {n} has no Kubo beside it: `kubo = {}` gives one to the last {} of {}",
                scenario.kubo, scenario.kubo, scenario.peers
            )),
            Self::Ipfs { .. } if scenario.kubo == 0 => {
                Err("no peer has a Kubo beside it: set `kubo`".to_owned())
            }
            Self::Burst { pins } if !(1..=BURST_MAX).contains(pins) => {
                Err(format!("pins must be 1 to {BURST_MAX}, not {pins}"))
            }
            _ => Ok(()),
        }
    }

    /// One drawn from the seed. `down` are the peers that earlier ones have stopped.
    pub(super) fn draw(rng: &mut Rng, scenario: &Scenario, down: &mut BTreeSet<usize>) -> Self {
        let peers = scenario.peers;
        let all: Vec<usize> = (1..=peers).collect();
        let number = rng.pick(&all).copied().unwrap_or(1);
        let peer = Who::Peer(number);
        let kind = if rng.chance(500_000) {
            CrashKind::PowerLoss
        } else {
            CrashKind::Kill
        };
        match rng.between(0, 18) {
            0 => Self::Partition {
                side: Vec::new(),
                one_way: rng.chance(250_000),
            },
            1 => Self::Partition {
                side: all
                    .iter()
                    .filter(|_| rng.chance(500_000))
                    .map(|n| Who::Peer(*n))
                    .collect(),
                one_way: rng.chance(250_000),
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
            14 => Self::SyncError { peer, times: 1 },
            15 => Self::FullDisk {
                peer,
                full: rng.chance(500_000),
            },
            16 if scenario.kubo > 0 => ipfs_trouble(rng, scenario),
            _ => Self::Heal,
        }
    }
}

/// Trouble of a Kubo, or its end.
fn ipfs_trouble(rng: &mut Rng, scenario: &Scenario) -> Fault {
    let (first, last) = (scenario.peers - scenario.kubo + 1, scenario.peers);
    let with: Vec<usize> = (first..=last).collect();
    let troubles = [
        IpfsTrouble::Well,
        IpfsTrouble::Down,
        IpfsTrouble::Slow,
        IpfsTrouble::Corrupting,
        IpfsTrouble::Full,
    ];
    Fault::Ipfs {
        peer: Who::Peer(rng.pick(&with).copied().unwrap_or(last)),
        trouble: rng.pick(&troubles).copied().unwrap_or_default(),
    }
}
