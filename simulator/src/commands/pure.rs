//! `core`: the pure core by itself.

use std::{process::ExitCode, time::Instant};

use clap::Args;

use crate::{mutate, pure};

/// How much of it.
#[derive(Debug, Args)]
pub(super) struct CoreArgs {
    /// Everything that happens by chance follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many steps.
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Plant a fault (see `list --mutations`) to see that it is found.
    #[arg(long, value_name = "NAME")]
    mutate: Option<String>,
}

pub(super) fn execute(args: &CoreArgs) -> anyhow::Result<ExitCode> {
    let planted = args.mutate.as_deref().map(mutate::plant);
    planted.transpose().map_err(anyhow::Error::msg)?;
    let start = Instant::now();
    let outcome = pure::run(args.seed, args.steps);
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{seconds:.1} s: {:.0} steps per second",
        outcome.steps as f64 / seconds
    );
    let verdict = match &outcome.violation {
        None => "ok".to_owned(),
        Some(violation) => {
            println!("step {}: VIOLATED {violation}", outcome.steps);
            format!("VIOLATED {}", violation.property)
        }
    };
    println!(
        "seed {} · steps {} · commands applied {} · {verdict}",
        args.seed, outcome.steps, outcome.applied
    );
    Ok(ExitCode::from(u8::from(outcome.violation.is_some())))
}
