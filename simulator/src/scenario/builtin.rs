//! The scenarios that come with the program.

/// Defines the table from the files under `scenarios/`.
macro_rules! scenarios {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),+]
    };
}

const ALL: &[(&str, &str)] = scenarios![
    "blackout",
    "bridge",
    "broken-disks",
    "burst",
    "calm",
    "clocks",
    "deposed",
    "down-leader",
    "drain-to-full",
    "emptied",
    "flapping",
    "kubo-trouble",
    "leader-clock",
    "lost-machine",
    "lost-quorum",
    "majority-without-leader",
    "membership",
    "old-word",
    "one-way",
    "partition-leader",
    "restart-alone",
    "rolling-restart",
    "short-log",
    "slow-blackout",
    "slow-disk",
    "storm",
    "swarm",
    "two-clusters",
    "unheard",
    "wiped",
    "zone-cut",
    "zone-loss",
];

/// The TOML of a built-in scenario.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// Names of the built-in scenarios, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}
