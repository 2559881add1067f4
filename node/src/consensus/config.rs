//! Timing and sizes of the consensus.

use std::{fmt, time::Duration};

use openraft::SnapshotPolicy;

/// How far apart the voters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// One machine room: elections in 250–400 ms.
    #[default]
    Local,
    /// Round trips over 30 ms: elections in 1–2 s.
    Wan,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Profile {
    /// As the configuration writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Wan => "wan",
        }
    }

    pub(super) fn heartbeat(self) -> Duration {
        match self {
            Self::Local => Duration::from_millis(100),
            Self::Wan => Duration::from_millis(200),
        }
    }

    fn election_ms(self) -> (u64, u64) {
        match self {
            Self::Local => (250, 400),
            Self::Wan => (1000, 2000),
        }
    }

    /// openraft's configuration.
    pub(super) fn raft(self) -> Result<openraft::Config, openraft::ConfigError> {
        let (min, max) = self.election_ms();
        let heartbeat = u64::try_from(self.heartbeat().as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "ipfs-cluster".into(),
            heartbeat_interval: heartbeat,
            election_timeout_min: min,
            election_timeout_max: max,
            enable_pre_vote: Some(true),
            // Snapshots and purges are ours to trigger, by bytes: see `compaction`.
            snapshot_policy: SnapshotPolicy::Never,
            replication_lag_threshold: u64::MAX,
            max_in_snapshot_log_to_keep: u64::MAX,
            // A log entry holds up to 1024 commands; requests are bounded by bytes in `log_store`.
            max_payload_entries: 1024,
            // Followers sync while the leader does.
            broadcast_submitted_on_append: Some(true),
            // So they may hold entries that the leader lost in a crash: one that led on in its old
            // term would give their numbers to other entries.
            enable_leader_restore: Some(false),
            removed_leader_step_down: openraft::StepDownPolicy::After(heartbeat * 2),
            api_channel_size: Some(4096),
            notification_channel_size: Some(4096),
            backoff: "50ms 100ms 200ms ...1s".into(),
            ..Default::default()
        }
        .validate()
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn both_profiles_are_valid() {
        for profile in [Profile::Local, Profile::Wan] {
            profile.raft().unwrap();
        }
    }
}
