//! `run`: one scenario, one seed.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

use super::{
    Outputs, Seeded,
    what_if::{self, WhatIf},
};
use crate::{
    interpose,
    process::{self, Broken},
    report::{Heading, page},
    run::{self, Report},
    span::Span,
    world::{self, Trace},
};

/// What is run.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) seeded: Seeded,
    #[command(flatten)]
    pub(super) outputs: Outputs,
    #[command(flatten)]
    what_if: WhatIf,
}

pub(super) fn execute(args: RunArgs) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.what_if.state {
        let scenario = args.seeded.load()?;
        return what_if::execute(&args.what_if, path, scenario, args.seeded.seed);
    }
    if !interpose::SUPPORTED {
        bail!("simulations run on Linux x86-64 with glibc only: they answer for its clocks");
    }
    process::make_repeatable().context("cannot start anew")?;
    let seed = args.seeded.seed;
    let scenario = args.seeded.load()?;
    args.seeded.what.plant()?;
    let trace = match &args.outputs.trace {
        Some(path) => Trace::to_file(path).with_context(|| path.display().to_string())?,
        None => Trace::new(None),
    };
    if let Some(filter) = &args.outputs.log {
        tracing_subscriber::fmt()
            .with_timer(VirtualTime)
            .with_env_filter(EnvFilter::try_new(filter)?)
            .with_writer(io::stderr)
            .init();
    }
    let about = scenario.about.clone();
    let start = interpose::machine_ns();
    let report = match process::on_own_thread(move || run::run(scenario, seed, trace)) {
        Err(Broken::Stuck(at)) => return Ok(stuck(seed, at)),
        result => result?,
    };
    let millis = (interpose::machine_ns() - start) / 1_000_000;
    print(&about, &report, millis);
    if let Some(path) = &args.outputs.report {
        let text = page(&heading(&args, &about, &report), &report.recording);
        write(path, &text).with_context(|| path.display().to_string())?;
        eprintln!("the page is in {}", path.display());
    }
    Ok(ExitCode::from(u8::from(report.violation.is_some())))
}

fn stuck(seed: u64, at: world::Micros) -> ExitCode {
    let lasted = Span(Duration::from_millis(at / 1_000));
    println!("VIOLATED makes-progress: virtual time stands still, somebody runs in circles");
    println!("seed {seed} · virtual {lasted} · events - · trace - · VIOLATED makes-progress");
    ExitCode::FAILURE
}

/// What happened, in an order and in words that need nothing else to be understood.
fn print(about: &str, report: &Report, millis: u64) {
    println!("{about}\n");
    println!("  second  what happened (virtual time)");
    for line in &report.story {
        println!("{line}");
    }
    let (asked, done) = report.requests;
    println!("\n{asked} requests of clients, {done} answered as asked");
    let speed = report.lasted.0.as_millis() / u128::from(millis.max(1));
    eprintln!("{millis} ms of real time: {speed} virtual seconds per second");
    println!("{}", report.summary());
}

fn heading(args: &RunArgs, about: &str, report: &Report) -> Heading {
    let verdict = report.violation.as_ref();
    Heading {
        scenario: args.seeded.what.scenario.clone(),
        about: about.to_owned(),
        verdict: verdict.map_or_else(|| "ok".to_owned(), |v| format!("VIOLATED {v}")),
        summary: report.summary(),
        command: format!("ipfs-cluster-sim run {}", args.seeded.arguments().join(" ")),
        answers: Vec::new(),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let now = world::now();
        write!(out, "{:>5}.{:03}", now / 1_000_000, now / 1_000 % 1_000)
    }
}
