//! `mutations`: plants every fault in turn, and says what finds it.

use std::{
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::Context as _;
use clap::Args;

use super::explore::{property, seconds_left};
use crate::{
    mutate::{self, CORE_STEPS, Found, Planted, TABLE},
    span::Span,
};

/// How hard to try.
#[derive(Debug, Args)]
pub(super) struct MutationsArgs {
    /// Seeds per fault at most, from 0, of the scenario that provokes it.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// Real time per fault at most.
    #[arg(long, value_name = "SPAN", default_value = "2m")]
    within: Span,
    /// Only these faults.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(super) fn execute(args: &MutationsArgs) -> anyhow::Result<ExitCode> {
    if let Some(name) = args.names.iter().find(|name| mutate::find(name).is_none()) {
        anyhow::bail!("no fault is called {name:?}: see `list --mutations`");
    }
    let asked = |planted: &&Planted| {
        args.names.is_empty() || args.names.iter().any(|name| name == planted.name)
    };
    let mut missed = 0;
    for planted in TABLE.iter().filter(asked) {
        let found = search(planted, args)?;
        missed += usize::from(found.is_none());
        let found = found.as_ref().map(|(by, seed)| match seed {
            Some(seed) => Found::Run(by, *seed + 1),
            None => Found::Core(by),
        });
        println!("{}", mutate::row(planted, found));
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// The property, and the seed unless the core found it. The core comes first: it takes a second.
fn search(
    planted: &Planted,
    args: &MutationsArgs,
) -> anyhow::Result<Option<(String, Option<u64>)>> {
    let steps = CORE_STEPS.to_string();
    let by = violated(&["core", "--steps", &steps, "--mutate", planted.name])?;
    if let Some(by) = by {
        return Ok(Some((by, None)));
    }
    let start = Instant::now();
    for seed in 0..args.seeds {
        if seconds_left(start, args.within) == 0 {
            break;
        }
        let number = seed.to_string();
        let scenario = planted.scenario;
        let run = ["run", "--scenario", scenario, "--seed", &number];
        let by = violated(&[&run[..], &["--mutate", planted.name]].concat())?;
        if let Some(by) = by {
            return Ok(Some((by, Some(seed))));
        }
    }
    Ok(None)
}

/// The property that a run says does not hold.
fn violated(arguments: &[&str]) -> anyhow::Result<Option<String>> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .output()
        .context("cannot run this program again")?;
    if output.status.code() == Some(2) {
        anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok((!output.status.success()).then(|| property(&text)))
}
