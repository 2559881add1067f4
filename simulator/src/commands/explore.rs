//! `explore`: many seeds, a process each.

use std::{
    ops::Range,
    process::{Command, ExitCode},
    str::FromStr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

/// Which seeds.
#[derive(Debug, Clone)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once("..").and_then(|(first, end)| {
            let range = first.parse().ok()?..end.parse().ok()?;
            (range.start < range.end).then_some(Self(range))
        });
        range.ok_or_else(|| format!("{text:?} is no range A..B with A < B"))
    }
}

/// What is explored.
#[derive(Debug, Args)]
pub(super) struct ExploreArgs {
    /// From A up to, not including, B.
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// Name or TOML file.
    #[arg(long, default_value = "storm")]
    scenario: String,
    /// Processes at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// Peers; drawn from each seed (3, 4 or 5) when not given.
    #[arg(long)]
    peers: Option<usize>,
}

pub(super) fn execute(args: &ExploreArgs) -> anyhow::Result<ExitCode> {
    let bar = ProgressBar::new(args.seeds.0.end - args.seeds.0.start);
    bar.set_style(ProgressStyle::with_template(
        "{wide_bar} {pos}/{len} {elapsed} {msg}",
    )?);
    let next = AtomicU64::new(args.seeds.0.start);
    let failures = AtomicUsize::new(0);
    let results: Vec<anyhow::Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs)
            .map(|_| scope.spawn(|| work(args, &next, &failures, &bar)))
            .collect();
        let ended = workers.into_iter().map(|worker| {
            let crashed = |_| Err(anyhow::anyhow!("a worker panicked"));
            worker.join().unwrap_or_else(crashed)
        });
        ended.collect()
    });
    bar.finish_and_clear();
    results.into_iter().collect::<anyhow::Result<()>>()?;
    let failures = failures.into_inner();
    let seeds = args.seeds.0.end - args.seeds.0.start;
    println!("{seeds} seeds of {}, {failures} failed", args.scenario);
    Ok(ExitCode::from(u8::from(failures > 0)))
}

fn work(
    args: &ExploreArgs,
    next: &AtomicU64,
    failures: &AtomicUsize,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= args.seeds.0.end {
            return Ok(());
        }
        let peers = args.peers.map_or(3 + seed % 3, |peers| peers as u64);
        let arguments = format!("--scenario {} --seed {seed} --peers {peers}", args.scenario);
        let output = Command::new(std::env::current_exe()?)
            .arg("run")
            .args(["--scenario", &args.scenario])
            .args(["--seed", &seed.to_string(), "--peers", &peers.to_string()])
            .output()
            .context("cannot run this program again")?;
        if !output.status.success() {
            let failed = failures.fetch_add(1, Ordering::Relaxed) + 1;
            bar.set_message(format!("{failed} failed"));
            let text = String::from_utf8_lossy(&output.stdout);
            let why = text.lines().rev().find(|line| line.contains("VIOLATED "));
            bar.suspend(|| {
                println!("seed {seed}: {}", why.unwrap_or("the process died"));
                println!("  ipfs-cluster-sim replay {arguments}");
            });
        }
        bar.inc(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range() {
        assert_eq!("3..7".parse::<Seeds>().unwrap().0, 3..7);
        for text in ["3", "7..3", "3..3", "a..b", "3..=7"] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}
