//! `explore`: many seeds, a process each.

use std::{
    collections::BTreeMap,
    process::{Command, ExitCode},
    str::FromStr,
    sync::Mutex,
    thread,
    time::Instant,
};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Seeded, What};
use crate::span::Span;

/// Which seeds: the end is not one of them.
#[derive(Debug, Clone, Copy)]
struct Seeds {
    first: u64,
    end: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once("..").and_then(|(first, end)| {
            let first = first.parse().ok()?;
            let end = match end {
                "" => u64::MAX,
                end => end.parse().ok()?,
            };
            (first < end).then_some(Self { first, end })
        });
        range.ok_or_else(|| format!("{text:?} is no range A..B with A < B, nor A.. without end"))
    }
}

/// What is explored.
#[derive(Debug, Args)]
pub(super) struct ExploreArgs {
    /// From A up to, not including, B; without B as many as there is time for.
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    #[command(flatten)]
    what: What,
    /// Processes at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// Begin no further seed after so much real time.
    #[arg(long, value_name = "SPAN")]
    within: Option<Span>,
}

/// One seed that did not end well.
#[derive(Debug)]
struct Failure {
    seed: u64,
    property: String,
}

/// What all workers share.
#[derive(Debug)]
struct Progress {
    next: u64,
    done: u64,
    virtual_ms: u128,
    failures: Vec<Failure>,
}

struct Exploration<'a> {
    args: &'a ExploreArgs,
    bar: ProgressBar,
    start: Instant,
    progress: Mutex<Progress>,
}

pub(super) fn execute(args: &ExploreArgs) -> anyhow::Result<ExitCode> {
    if args.seeds.end == u64::MAX && args.within.is_none() && args.what.mutate.is_none() {
        anyhow::bail!("seeds without end need a time: add --within 5m, say");
    }
    args.what.plant()?;
    let exploration = Exploration {
        args,
        bar: bar(args.seeds)?,
        start: Instant::now(),
        progress: Mutex::new(Progress {
            next: args.seeds.first,
            done: 0,
            virtual_ms: 0,
            failures: Vec::new(),
        }),
    };
    let results: Vec<anyhow::Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs)
            .map(|_| scope.spawn(|| exploration.work()))
            .collect();
        let ended = workers.into_iter().map(|worker| {
            let crashed = |_| Err(anyhow::anyhow!("a worker panicked"));
            worker.join().unwrap_or_else(crashed)
        });
        ended.collect()
    });
    exploration.bar.finish_and_clear();
    results.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(exploration.conclude())
}

fn bar(seeds: Seeds) -> anyhow::Result<ProgressBar> {
    let (bar, template) = if seeds.end == u64::MAX {
        (
            ProgressBar::no_length(),
            "{spinner} {pos} seeds {elapsed} {msg}",
        )
    } else {
        let bar = ProgressBar::new(seeds.end - seeds.first);
        (bar, "{wide_bar} {pos}/{len} {elapsed}, {eta} left {msg}")
    };
    bar.set_style(ProgressStyle::with_template(template)?);
    Ok(bar)
}

impl Exploration<'_> {
    /// The next seed, unless this is enough.
    fn next(&self) -> Option<u64> {
        let mut progress = self.lock();
        let over = self
            .args
            .within
            .is_some_and(|within| self.start.elapsed() >= within.0);
        // Of a planted fault one wants to know the first seed that finds it.
        let found = self.args.what.mutate.is_some() && !progress.failures.is_empty();
        let seed = progress.next;
        if over || found || seed >= self.args.seeds.end {
            return None;
        }
        progress.next += 1;
        Some(seed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn work(&self) -> anyhow::Result<()> {
        while let Some(seed) = self.next() {
            let seeded = Seeded {
                what: self.args.what.clone(),
                seed,
            };
            let output = Command::new(std::env::current_exe()?)
                .arg("run")
                .args(seeded.arguments())
                .output()
                .context("cannot run this program again")?;
            let text = String::from_utf8_lossy(&output.stdout);
            let mut progress = self.lock();
            progress.done += 1;
            progress.virtual_ms += virtual_ms(&text);
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                self.tell(&seeded, &text, &said);
                progress.failures.push(Failure {
                    seed,
                    property: property(&text),
                });
                self.bar
                    .set_message(format!("{} failed", progress.failures.len()));
            }
            drop(progress);
            self.bar.inc(1);
        }
        Ok(())
    }

    /// The seed, what did not hold, and how to see it again.
    fn tell(&self, seeded: &Seeded, text: &str, said: &str) {
        let why = text.lines().find(|line| line.contains("VIOLATED "));
        let why = why.map_or_else(
            || {
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                format!(
                    "the process died\n{}",
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                )
            },
            |why| why.trim().to_owned(),
        );
        self.bar.suspend(|| {
            println!("seed {}: {why}", seeded.seed);
            println!("  ipfs-cluster-sim replay {}", seeded.arguments().join(" "));
        });
    }

    fn conclude(self) -> ExitCode {
        let real = self.start.elapsed().as_secs_f64();
        let what = &self.args.what;
        let mut progress = self
            .progress
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        progress.failures.sort_by_key(|failure| failure.seed);
        let mut by: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for failure in &progress.failures {
            by.entry(&failure.property).or_default().push(failure.seed);
        }
        for (property, seeds) in by {
            println!("{property}: seeds {seeds:?}");
        }
        println!(
            "{} seeds of {} from {} on, {} failed · virtual {} s in {real:.0} s",
            progress.done,
            what.scenario,
            self.args.seeds.first,
            progress.failures.len(),
            progress.virtual_ms / 1_000,
        );
        let Some(mutation) = &what.mutate else {
            return ExitCode::from(u8::from(!progress.failures.is_empty()));
        };
        match progress.failures.first() {
            Some(first) => {
                let tried = first.seed - self.args.seeds.first + 1;
                println!(
                    "{mutation}: found by {} after {tried} seeds",
                    first.property
                );
                ExitCode::SUCCESS
            }
            None => {
                println!("{mutation}: NOT found in {} seeds", progress.done);
                ExitCode::FAILURE
            }
        }
    }
}

/// Whole seconds of a span of real time that are left since `start`.
pub(super) fn seconds_left(start: Instant, within: Span) -> u64 {
    within.0.saturating_sub(start.elapsed()).as_secs()
}

/// The property that did not hold, as the last line of a run names it.
pub(super) fn property(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default();
    last.rsplit_once("VIOLATED ")
        .map_or("died", |(_, property)| property)
        .to_owned()
}

/// How long a run has lasted, as its last line says.
fn virtual_ms(text: &str) -> u128 {
    let last = text.lines().last().unwrap_or_default();
    let span = last
        .split(" · ")
        .find_map(|field| field.strip_prefix("virtual "));
    let span = span.and_then(|span| span.parse::<Span>().ok());
    span.map_or(0, |span| span.0.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range() {
        let seeds: Seeds = "3..7".parse().unwrap();
        assert_eq!((seeds.first, seeds.end), (3, 7));
        let seeds: Seeds = "3..".parse().unwrap();
        assert_eq!((seeds.first, seeds.end), (3, u64::MAX));
        for text in ["3", "7..3", "3..3", "a..b", "3..=7", ".."] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_line_tells_what_a_run_came_to() {
        let bad = "  12.000 VIOLATED x: y\nseed 1 · virtual 90s · events 7 · trace ab · VIOLATED x";
        assert_eq!(property(bad), "x");
        assert_eq!(virtual_ms(bad), 90_000);
        assert_eq!(property("panicked"), "died");
        assert_eq!(virtual_ms("panicked"), 0);
    }
}
