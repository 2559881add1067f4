//! Memory and processor time of other processes of this machine.

use std::{collections::BTreeMap, fs, time::Duration};

use ipfs_cluster_protocol::api::stage;

/// What a process has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Usage {
    /// Processor time, of user and system.
    pub(super) cpu: Duration,
    /// Of that, by what the threads are for: a peer's stages have threads of their own.
    pub(super) by_stage: BTreeMap<&'static str, Duration>,
    /// Memory at present, in bytes.
    pub(super) rss: u64,
}

/// Starts of the names of a peer's threads (the kernel keeps 15 bytes), and what they do.
const STAGES: &[(&str, &str)] = &[
    ("tokio-rt-worker", "http, raft, network"),
    ("lane-state-read", stage::DECIDE),
    ("lane-log-write", stage::APPEND_AND_SYNC),
    ("lane-state-appl", stage::APPLY),
    ("lane-state-writ", stage::STATE_FILE),
];
/// All other threads.
const OTHER: &str = "other";

/// Of a tick of `/proc/PID/stat`, on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Reads `/proc`; none for a process that is not there, or on other systems.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        cpu: cpu(&stat)?,
        by_stage: by_stage(pid),
        rss: rss(&status)?,
    })
}

/// Threads that end meanwhile are left out.
fn by_stage(pid: u32) -> BTreeMap<&'static str, Duration> {
    let mut by_stage = BTreeMap::new();
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let stat = fs::read_to_string(thread.path().join("stat"));
        if let Some((stage, used)) = stat.ok().and_then(|s| Some((stage_of(&s)?, cpu(&s)?))) {
            *by_stage.entry(stage).or_insert(Duration::ZERO) += used;
        }
    }
    by_stage
}

/// What a thread is for, by its name: field 2, in brackets.
fn stage_of(stat: &str) -> Option<&'static str> {
    let (_, rest) = stat.split_once('(')?;
    let (name, _) = rest.rsplit_once(')')?;
    let known = STAGES.iter().find(|(start, _)| name.starts_with(start));
    Some(known.map_or(OTHER, |(_, stage)| stage))
}

/// Fields 14 and 15; the second may hold spaces, so what follows its bracket is counted.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(rss("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(stage_of("7 (lane-state-appl) S 1"), Some(stage::APPLY));
        assert_eq!(stage_of("7 (a (b) c) S 1"), Some(OTHER));
        assert_eq!(stage_of(""), None);
        assert_eq!(cpu(""), None);
        assert_eq!(rss(""), None);
    }
}
