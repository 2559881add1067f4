//! What this process uses of the machine, as Linux tells it; elsewhere nothing is known.
#![allow(
    clippy::disallowed_methods,
    reason = "the files are the kernel's, not of a disk that is simulated"
)]

use std::{fs, time::Duration};

/// At a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessUsage {
    /// Processor time, of user and system, since the start.
    pub cpu: Duration,
    /// Bytes of memory that are its own now.
    pub resident: u64,
    /// Bytes of address space.
    pub mapped: u64,
    /// Files and connections that are open.
    pub open_files: u64,
    /// How many of them may be.
    pub open_files_limit: Option<u64>,
    /// Seconds since 1970 at its start.
    pub started: u64,
}

/// Ticks of `/proc` in a second, on every Linux.
const TICKS: u64 = 100;

/// Reads `/proc`. Blocks for some microseconds.
#[must_use]
pub fn process_usage() -> Option<ProcessUsage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let files = fs::read_dir("/proc/self/fd").ok()?.count();
    let ticks = ticks(&stat)?;
    let booted: u64 = after(&machine, "btime ")?.parse().ok()?;
    Some(ProcessUsage {
        cpu: Duration::from_millis(ticks.used.checked_mul(1000 / TICKS)?),
        resident: kibibytes(&status, "VmRSS:")?,
        mapped: kibibytes(&status, "VmSize:")?,
        // The listing itself is one of them.
        open_files: u64::try_from(files).ok()?.saturating_sub(1),
        open_files_limit: super::open_files::limit(),
        started: booted.checked_add(ticks.started / TICKS)?,
    })
}

struct Ticks {
    used: u64,
    /// Since the machine started.
    started: u64,
}

/// Fields 14, 15 and 22; the second may hold spaces, so what follows its bracket is counted.
fn ticks(stat: &str) -> Option<Ticks> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Ticks {
        used: field(14)?.checked_add(field(15)?)?,
        started: field(22)?,
    })
}

/// What follows a word at the start of a line.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let mut found = text.lines().filter_map(|line| line.strip_prefix(word));
    found.next().map(str::trim)
}

fn kibibytes(status: &str, word: &str) -> Option<u64> {
    let number = after(status, word)?.strip_suffix(" kB")?;
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_name_with_brackets_and_spaces() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 4200 9 9";
        let read = ticks(stat).unwrap();
        assert_eq!((read.used, read.started), (200, 4200));
        let status = "Name:\tx\nVmSize:\t  20 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(12 * 1024));
        assert!(ticks("").is_none() && kibibytes("", "VmRSS:").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let usage = process_usage().unwrap();
        assert!(usage.resident > 100_000 && usage.mapped > usage.resident);
        assert!(usage.open_files > 2 && usage.started > 1_600_000_000);
    }
}
