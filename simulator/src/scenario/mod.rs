//! Scenarios: who takes part, what the weather is, and what happens when. TOML, or drawn from the
//! seed.
//!
//! ```toml
//! about = "One sentence that says what it proves."
//! peers = 3                 # 1 to 20
//! for = "60s"               # how long faults and workload last
//! settle = "60s"            # within which everything must be well again
//!
//! [network]                 # all optional
//! latency_ms = [1, 3]
//! loss_percent = 0.5
//! mbit = 1000
//!
//! [peer]                    # all optional
//! repair_grace = "5m"
//! ping_interval = "15s"
//! log_kib = 262144
//!
//! [workload]                # all optional: see `WorkloadPlan`
//! writes_per_second = 20
//! cids = 50
//! writes = { pin = 60, unpin = 30, update = 5, add = 5 }
//! replication = [[2, 3], [-1, -1]]
//!
//! [[zone]]                  # optional
//! name = "eu"
//! peers = [1, 2]
//!
//! [[between]]               # optional: links between zones
//! zones = ["eu", "us"]
//! weather = { latency_ms = [40, 50], mbit = 100 }
//!
//! [[fault]]
//! at = "10s"
//! do = "isolate"            # see `Fault` for all of them
//! peer = "leader"           # or "follower", "any", "3"
//! ```

mod builtin;
mod fault;
mod plan;
mod swarm;
mod topology;
mod tuning;

use std::path::Path;

use serde::Deserialize;

pub use builtin::{builtin, names};
pub use fault::{CrashKind, Fault, IpfsTrouble, Timed, Who};
pub use plan::{ReadMix, WorkloadPlan, WriteMix};
pub use topology::{Between, Topology, Zone};
pub use tuning::{EXPIRY_INTERVAL, Tuning};

use crate::{network::Link, span::Span};

/// Peers of a scenario at most.
pub const PEERS_MAX: usize = 20;

/// A story.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it proves.
    pub about: String,
    /// Peers, all members.
    pub peers: usize,
    /// How long faults and workload last.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// Within which everything must be well again after the faults.
    pub settle: Span,
    /// The weather.
    #[serde(default)]
    pub network: Weather,
    /// How the peers are configured.
    #[serde(default, rename = "peer")]
    pub tuning: Tuning,
    /// Where the peers are.
    #[serde(default, rename = "zone")]
    pub zones: Vec<Zone>,
    /// Links between zones.
    #[serde(default)]
    pub between: Vec<Between>,
    /// Peers with a (simulated) Kubo beside them, counted from the last; the others have the
    /// embedded node.
    #[serde(default)]
    pub kubo: usize,
    /// Peers of another cluster that has the same secret, and the addresses of this one.
    #[serde(default)]
    pub foreign: usize,
    /// What clients do.
    #[serde(default)]
    pub workload: WorkloadPlan,
    /// What happens, in order of time.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Timed>,
    /// Faults that are drawn from the seed, on average one per this span.
    #[serde(default)]
    pub random_fault_every: Option<Span>,
    /// Peers, network, time-outs, workload and kinds of faults are drawn from the seed.
    #[serde(default)]
    pub drawn: bool,
}

/// Quality of all links.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weather {
    /// One-way delay, between the two.
    pub latency_ms: (u64, u64),
    /// Lost segments.
    pub loss_percent: f64,
    /// Segments that reset their connection.
    pub reset_percent: f64,
    /// Bandwidth per direction.
    pub mbit: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            latency_ms: (1, 3),
            loss_percent: 0.0,
            reset_percent: 0.0,
            mbit: 1_000,
        }
    }
}

impl Weather {
    /// The link it makes.
    #[must_use]
    pub fn link(&self) -> Link {
        Link {
            latency_us: (self.latency_ms.0 * 1_000, self.latency_ms.1 * 1_000),
            bytes_per_second: self.mbit * 125_000,
            loss_ppm: ppm(self.loss_percent),
            reset_ppm: ppm(self.reset_percent),
        }
    }
}

fn ppm(percent: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be between 0 and 100"
    )]
    let ppm = (percent * 10_000.0) as u64;
    ppm
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a name nor a file.
    #[error("no scenario is called {0:?} (see `list`), and no file has this name: {1}")]
    Unknown(String, std::io::Error),
    /// Not TOML, or not a scenario.
    #[error("{name}: {error}")]
    Syntax {
        /// Which.
        name: String,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// It contradicts itself.
    #[error("{name}: {why}")]
    Senseless {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
}

impl Scenario {
    /// A built-in scenario, or that of a file.
    pub fn load(name: &str) -> Result<Self, ScenarioError> {
        let text = match builtin(name) {
            Some(text) => text.to_owned(),
            None => read(Path::new(name))
                .map_err(|error| ScenarioError::Unknown(name.to_owned(), error))?,
        };
        Self::parse(name, &text)
    }

    /// Reads and checks a scenario.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError::Syntax {
            name: name.to_owned(),
            error: Box::new(error),
        })?;
        scenario.check().map_err(|why| ScenarioError::Senseless {
            name: name.to_owned(),
            why,
        })?;
        Ok(scenario)
    }

    /// Says what makes no sense.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=PEERS_MAX).contains(&self.peers) {
            return Err(format!(
                "peers must be 1 to {PEERS_MAX}, not {}",
                self.peers
            ));
        }
        if self.kubo > self.peers {
            return Err(format!("kubo must be at most {} (the peers)", self.peers));
        }
        if self.foreign > PEERS_MAX {
            return Err(format!("foreign must be at most {PEERS_MAX}"));
        }
        self.tuning.check()?;
        check_weather(&self.network)?;
        topology::check(&self.zones, &self.between, self.peers)?;
        self.workload.check()?;
        let times: Vec<Span> = self.faults.iter().map(|f| f.at).collect();
        if !times.is_sorted() {
            return Err("the faults must be in order of time".to_owned());
        }
        if times.last().is_some_and(|last| *last > self.lasts) {
            return Err(format!("a fault comes after the end ({})", self.lasts));
        }
        self.faults.iter().try_for_each(|timed| {
            let checked = timed.fault.check(self);
            checked.map_err(|why| format!("fault at {}: {why}", timed.at))
        })
    }

    /// Peers that join as it goes, after the first.
    #[must_use]
    pub fn joiners(&self) -> usize {
        let joins = self.faults.iter().filter(|f| f.fault == Fault::Join);
        joins.count()
    }

    /// Pins of all bursts together.
    #[must_use]
    pub fn burst(&self) -> u64 {
        let pins = self.faults.iter().map(|f| match f.fault {
            Fault::Burst { pins } => pins,
            _ => 0,
        });
        pins.sum()
    }

    /// How far from the truth peers may hold the time for, in seconds: one wrong clock is noticed by
    /// those of the others, more of them may be believed.
    #[must_use]
    pub fn clock_error_seconds(&self) -> u64 {
        /// What a peer does not notice.
        const TOLERATED: u64 = 11;
        let errors = self.faults.iter().filter_map(|f| match f.fault {
            Fault::Clock { seconds, .. } => Some(seconds.unsigned_abs()),
            _ => None,
        });
        let errors: Vec<u64> = errors.collect();
        let believed = if errors.len() > 1 {
            errors.into_iter().max()
        } else {
            None
        };
        TOLERATED + believed.unwrap_or(0)
    }

    /// The links in good weather.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let (zones, between) = (self.zones.clone(), self.between.clone());
        Topology::new(self.network.link(), zones, between)
    }
}

fn check_weather(weather: &Weather) -> Result<(), String> {
    let percent = 0.0..=100.0;
    if weather.latency_ms.0 < 1 || weather.latency_ms.0 > weather.latency_ms.1 {
        return Err("latency_ms must be [low, high] with 1 <= low <= high".to_owned());
    }
    if !percent.contains(&weather.loss_percent) || !percent.contains(&weather.reset_percent) {
        return Err("loss_percent and reset_percent must be 0 to 100".to_owned());
    }
    if weather.mbit == 0 || weather.mbit > 100_000 {
        return Err("mbit must be 1 to 100000".to_owned());
    }
    Ok(())
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    /// Bytes of a scenario file.
    const MAX: u64 = 1 << 20;
    let mut text = String::new();
    let file = std::fs::OpenOptions::new().read(true).open(path)?;
    file.take(MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_scenario_is_valid() {
        for name in names() {
            let mut scenario = Scenario::load(name).unwrap();
            for seed in 0..20 {
                scenario.draw(&mut crate::world::Rng::new(seed, "test"));
                scenario.check().unwrap();
            }
        }
    }

    #[test]
    fn the_documentation_s_example_is_a_scenario() {
        let text = include_str!("../../../docs/simulator.md");
        let (_, rest) = text.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let scenario = Scenario::parse("docs/simulator.md", example).unwrap();
        assert_eq!((scenario.peers, scenario.faults.len()), (5, 1));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let error = |text: &str| Scenario::parse("x", text).unwrap_err().to_string();
        let good = "about='a'\npeers=3\nfor='9s'\nsettle='9s'\n";
        assert!(Scenario::parse("x", good).is_ok());
        assert!(error("about='a'").contains("peers"));
        assert!(error(&format!("{good}colour=1")).contains("colour"));
        assert!(error(&good.replace('3', "99")).contains("1 to 20"));
        assert!(error(&good.replace("9s", "9 weeks")).contains("no span of time"));
        let late = format!("{good}[[fault]]\nat='10s'\ndo='heal'");
        assert!(error(&late).contains("after the end"));
        let nobody = format!("{good}[[fault]]\nat='1s'\ndo='isolate'\npeer='7'");
        assert!(error(&nobody).contains("no peer 7"));
        for (more, why) in [
            (
                "[[fault]]\nat='1s'\ndo='cut-zone'\nzone='x'",
                "at 1s: there is no zone \"x\"",
            ),
            (
                "[[fault]]\nat='1s'\ndo='ipfs'\npeer='1'\ntrouble='down'",
                "no Kubo beside it",
            ),
            (
                "[[fault]]\nat='1s'\ndo='burst'\npins=0",
                "pins must be 1 to",
            ),
            ("[[zone]]\nname='x'\npeers=[9]", "no peer 9"),
            (
                "[[zone]]\nname='x'\npeers=[1]\n[[zone]]\nname='y'\npeers=[1]",
                "in two zones",
            ),
            ("[[between]]\nzones=['x','y']\nweather={}", "no zone \"x\""),
            ("kubo=4", "kubo must be at most 3"),
            ("[workload]\nlibp2p_percent=101", "libp2p_percent"),
            ("[workload]\nreplication=[[3,2]]", "replication [3, 2]"),
            (
                "[workload]\nreads={one=0,list=0,status=0}",
                "workload.reads",
            ),
        ] {
            let text = error(&format!("{good}{more}"));
            assert!(text.contains(why), "{more}: {text}");
        }
    }
}
