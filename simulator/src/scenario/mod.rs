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
//! [workload]                # all optional
//! writes_per_second = 20
//! cids = 50
//!
//! [[fault]]
//! at = "10s"
//! do = "isolate"            # see `Fault` for all of them
//! peer = "leader"           # or "follower", "any", "3"
//! ```

mod builtin;
mod fault;
mod swarm;
mod tuning;

use std::path::Path;

use serde::Deserialize;

pub use builtin::{builtin, names};
pub use fault::{CrashKind, Fault, Timed, Who};
pub use tuning::Tuning;

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

/// What clients do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadPlan {
    /// Pins and unpins per second, together.
    pub writes_per_second: u64,
    /// Linearizable reads per second.
    pub reads_per_second: u64,
    /// Different CIDs.
    pub cids: u64,
}

impl Default for WorkloadPlan {
    fn default() -> Self {
        Self {
            writes_per_second: 20,
            reads_per_second: 5,
            cids: 40,
        }
    }
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
        let weather = &self.network;
        let percent = 0.0..=100.0;
        if !(1..=PEERS_MAX).contains(&self.peers) {
            return Err(format!(
                "peers must be 1 to {PEERS_MAX}, not {}",
                self.peers
            ));
        }
        if weather.latency_ms.0 < 1 || weather.latency_ms.0 > weather.latency_ms.1 {
            return Err("latency_ms must be [low, high] with 1 <= low <= high".to_owned());
        }
        if !percent.contains(&weather.loss_percent) || !percent.contains(&weather.reset_percent) {
            return Err("loss_percent and reset_percent must be 0 to 100".to_owned());
        }
        if weather.mbit == 0 || weather.mbit > 100_000 {
            return Err("mbit must be 1 to 100000".to_owned());
        }
        if self.workload.cids == 0 {
            return Err("cids must be at least 1".to_owned());
        }
        self.tuning.check()?;
        let times: Vec<Span> = self.faults.iter().map(|f| f.at).collect();
        if !times.is_sorted() {
            return Err("the faults must be in order of time".to_owned());
        }
        if times.last().is_some_and(|last| *last > self.lasts) {
            return Err(format!("a fault comes after the end ({})", self.lasts));
        }
        self.faults
            .iter()
            .try_for_each(|f| f.fault.check(self.peers))
    }
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
    }
}
