//! Faults planted on purpose (`--mutate NAME`), and what the simulator makes of them.
//!
//! Only a build with the feature `mutations` can plant one; the table is there in every build.

use ipfs_cluster_protocol::mutation::Mutation;

/// A fault that can be planted.
#[derive(Debug)]
pub struct Planted {
    /// As on the command line.
    pub name: &'static str,
    /// Which.
    pub mutation: Mutation,
    /// What goes wrong, in words.
    pub about: &'static str,
    /// The scenario that provokes what it spoils.
    pub scenario: &'static str,
    /// How it is found; none as long as nothing finds it.
    pub found: Option<Found<'static>>,
}

/// What finds a planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// This property, by the scenario within so many seeds, counted from 0.
    Run(&'a str, u64),
    /// This property, by `core --seed 1` within [`CORE_STEPS`].
    Core(&'a str),
}

/// Steps within which the pure core finds what it can find.
pub const CORE_STEPS: u64 = 30_000;

const fn planted(
    name: &'static str,
    mutation: Mutation,
    about: &'static str,
    scenario: &'static str,
    found: Option<Found<'static>>,
) -> Planted {
    Planted {
        name,
        mutation,
        about,
        scenario,
        found,
    }
}

/// All of them.
pub const TABLE: &[Planted] = &[
    planted(
        "vote-not-synced",
        Mutation::VoteNotSynced,
        "a vote is remembered, and forgotten with the process",
        "blackout",
        Some(Found::Run("election-safety", 2)),
    ),
    planted(
        "append-acked-before-fsync",
        Mutation::AppendAckedBeforeFsync,
        "entries count as written before they are on the disk",
        "slow-blackout",
        Some(Found::Run("equal-state", 2)),
    ),
    planted(
        "truncate-not-written",
        Mutation::TruncateNotWritten,
        "what was cut off the log is there again after a restart",
        "deposed",
        Some(Found::Run("all-serve", 2)),
    ),
    planted(
        "stale-read-as-linearizable",
        Mutation::StaleReadAsLinearizable,
        "a linearizable read asks nobody what is committed",
        "zone-cut",
        Some(Found::Run("pins-are-linearizable", 2)),
    ),
    planted(
        "read-does-not-wait",
        Mutation::ReadDoesNotWait,
        "a linearizable read does not wait until its peer has applied what is committed",
        "zone-cut",
        Some(Found::Run("reads-never-go-back", 2)),
    ),
    planted(
        "unknown-told-as-refused",
        Mutation::UnknownToldAsRefused,
        "a write of which nobody knows what became is told as refused",
        "unheard",
        Some(Found::Run("pins-are-linearizable", 2)),
    ),
    planted(
        "state-before-recovery",
        Mutation::StateBeforeRecovery,
        "the state is served while it may be older than before the last stop",
        "restart-alone",
        Some(Found::Run("reads-never-go-back", 4)),
    ),
    planted(
        "apply-by-local-clock",
        Mutation::ApplyByLocalClock,
        "entries are stamped by the clock of whoever applies them",
        "calm",
        Some(Found::Run("equal-state", 2)),
    ),
    planted(
        "log-time-may-fall",
        Mutation::LogTimeMayFall,
        "log time follows the leader's clock backwards",
        "swarm",
        Some(Found::Core("log-time-never-falls")),
    ),
    planted(
        "apply-without-if-rev",
        Mutation::ApplyWithoutIfRev,
        "a command that was decided from an older state is applied",
        "swarm",
        Some(Found::Core("decided-from-the-present-state")),
    ),
    planted(
        "repeat-applied-twice",
        Mutation::RepeatAppliedTwice,
        "a command that is repeated in its session is applied again",
        "swarm",
        Some(Found::Core("applied-once-per-session")),
    ),
    planted(
        "set-edit-forgotten",
        Mutation::SetEditForgotten,
        "the sets that a pin leaves still name it",
        "swarm",
        Some(Found::Core("sound-state")),
    ),
    planted(
        "snapshot-one-short",
        Mutation::SnapshotOneShort,
        "the state sent to a peer claims the entry before its last",
        "short-log",
        Some(Found::Run("all-serve", 2)),
    ),
    planted(
        "node-id-reused",
        Mutation::NodeIdReused,
        "a peer that lost its log comes back under its old node ID",
        "wiped",
        Some(Found::Run("leader-completeness", 2)),
    ),
    planted(
        "expiry-by-wrong-clock",
        Mutation::ExpiryByWrongClock,
        "pins expire by the leader's clock, however wrong",
        "swarm",
        Some(Found::Core("nothing-expires-early")),
    ),
    planted(
        "repair-without-guard",
        Mutation::RepairWithoutGuard,
        "repair goes on however many peers are down",
        "swarm",
        Some(Found::Core("repair-keeps-the-guard")),
    ),
    planted(
        "release-on-gossip",
        Mutation::ReleaseOnGossip,
        "a peer is let go without asking whether the others hold the pin",
        "emptied",
        Some(Found::Run("make-before-break", 2)),
    ),
    planted(
        "delta-dropped-without-digest",
        Mutation::DeltaDroppedWithoutDigest,
        "some changes of a status table get lost, and digests are not compared",
        "swarm",
        Some(Found::Core("tables-converge")),
    ),
    planted(
        "unpin-on-absence",
        Mutation::UnpinOnAbsence,
        "what the state does not know is unpinned",
        "kubo-trouble",
        Some(Found::Run("foreign-pins-stay", 2)),
    ),
];

/// A row of the table in the documentation.
#[must_use]
pub fn row(planted: &Planted, found: Option<Found<'_>>) -> String {
    let found = match found {
        None => "not found yet | –".to_owned(),
        Some(Found::Run(by, seeds)) => {
            format!("`{by}` in `{}` | {seeds}", planted.scenario)
        }
        Some(Found::Core(by)) => format!("`{by}` of the pure core | 1"),
    };
    format!("| `{}` | {} | {found} |", planted.name, planted.about)
}

/// The fault of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Planted> {
    TABLE.iter().find(|planted| planted.name == name)
}

/// Plants a fault in this process, for good.
pub fn plant(name: &str) -> Result<(), String> {
    let planted = find(name).ok_or_else(|| {
        format!("no fault is called {name:?}: see `ipfs-cluster-sim list --mutations`")
    })?;
    switch_on(planted.mutation)
}

#[cfg(feature = "mutations")]
#[allow(
    clippy::unnecessary_wraps,
    reason = "a build without the feature has the same function, which refuses"
)]
fn switch_on(mutation: Mutation) -> Result<(), String> {
    ipfs_cluster_protocol::mutation::plant(mutation);
    Ok(())
}

#[cfg(not(feature = "mutations"))]
fn switch_on(_: Mutation) -> Result<(), String> {
    Err("this build cannot plant faults: build it with `--features mutations`".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_known() {
        let names: BTreeSet<&str> = TABLE.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(find("vote-not-synced").is_some());
        assert!(
            plant("nonsense")
                .unwrap_err()
                .contains("no fault is called")
        );
    }

    #[test]
    fn the_documentation_shows_this_table() {
        let text = include_str!("../../docs/simulator.md");
        for planted in TABLE {
            let row = row(planted, planted.found);
            assert!(
                text.contains(&row),
                "docs/simulator.md lacks the row\n{row}"
            );
        }
    }
}
