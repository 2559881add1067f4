//! `run`: one scenario, one seed.

use std::{io, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

use super::RunArgs;
use crate::{
    interpose,
    process::{self, Broken},
    run::{self, Report},
    scenario::Scenario,
    span::Span,
    world::{self, Trace},
};

pub(super) fn execute(args: RunArgs) -> anyhow::Result<ExitCode> {
    if !interpose::SUPPORTED {
        bail!("simulations run on Linux x86-64 with glibc only: they answer for its clocks");
    }
    process::make_repeatable().context("cannot start anew")?;
    let scenario = load(&args)?;
    let trace = match &args.trace {
        Some(path) => Trace::to_file(path).with_context(|| path.display().to_string())?,
        None => Trace::new(None),
    };
    if let Some(filter) = &args.log {
        tracing_subscriber::fmt()
            .with_timer(VirtualTime)
            .with_env_filter(EnvFilter::try_new(filter)?)
            .with_writer(io::stderr)
            .init();
    }
    let start = interpose::machine_ns();
    let report = match process::on_own_thread(move || run::run(scenario, args.seed, trace)) {
        Err(Broken::Stuck(at)) => {
            let lasted = Span(Duration::from_millis(at / 1_000));
            println!(
                "VIOLATED makes-progress: virtual time stands still, somebody runs in circles"
            );
            println!(
                "seed {} · virtual {lasted} · events - · trace - · VIOLATED makes-progress",
                args.seed
            );
            return Ok(ExitCode::FAILURE);
        }
        result => result?,
    };
    let seconds = (interpose::machine_ns() - start) / 1_000_000;
    print(&report, seconds);
    Ok(ExitCode::from(u8::from(report.violation.is_some())))
}

/// The scenario with what the command line says otherwise.
pub(super) fn load(args: &RunArgs) -> anyhow::Result<Scenario> {
    let mut scenario = Scenario::load(&args.scenario)?;
    scenario.peers = args.peers.unwrap_or(scenario.peers);
    if let Some(lasts) = args.lasts {
        scenario.lasts = lasts;
        scenario.faults.retain(|fault| fault.at <= lasts);
    }
    scenario.check().map_err(anyhow::Error::msg)?;
    Ok(scenario)
}

fn print(report: &Report, millis: u64) {
    for line in &report.story {
        println!("{line}");
    }
    let (asked, done) = report.requests;
    println!("{asked} requests, {done} done");
    let speed = report.lasted.0.as_millis() / u128::from(millis.max(1));
    eprintln!("{millis} ms of real time: {speed} virtual seconds per second");
    println!("{}", report.summary());
}

struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let now = world::now();
        write!(out, "{:>5}.{:03}", now / 1_000_000, now / 1_000 % 1_000)
    }
}
