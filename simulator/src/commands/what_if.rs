//! `run --state`: what a scenario would do to an exported pin set.

use std::{
    fs::OpenOptions,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use crate::{
    scenario::Scenario,
    span::Span,
    what_if::{self, Answer, Assumptions, Sizes},
};

/// Bytes of an export at most.
const EXPORT_BYTES_MAX: u64 = 8 << 30;

/// The pin set, and what it does not say.
#[derive(Debug, Clone, Args)]
pub(super) struct WhatIf {
    /// Instead of simulating peers, calculate what the scenario would do to this pin set, as
    /// `ipfs-cluster-service state export` writes it.
    #[arg(long, value_name = "EXPORT.json")]
    pub(super) state: Option<PathBuf>,
    /// With --state: how large each pin is taken to be, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1, requires = "state")]
    pin_mib: u64,
    /// With --state: a list of what is known of sizes, a CID and its bytes per line.
    #[arg(long, value_name = "FILE", requires = "state")]
    sizes: Option<PathBuf>,
    /// With --state: pins that repair may move per second.
    #[arg(long, value_name = "N", default_value_t = 50.0, requires = "state")]
    pins_per_second: f64,
}

pub(super) fn execute(
    args: &WhatIf,
    path: &Path,
    mut scenario: Scenario,
    seed: u64,
) -> anyhow::Result<ExitCode> {
    let sizes = args.sizes.as_deref().map(read_list).transpose()?;
    let assumptions = Assumptions {
        pin_bytes: args.pin_mib << 20,
        sizes: sizes.unwrap_or_default(),
        pins_per_second: args.pins_per_second,
        factors: (-1, -1),
    };
    let name = path.display();
    let bytes = read(path).with_context(|| name.to_string())?;
    let set =
        what_if::read(&bytes, &assumptions).map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
    scenario.peers = set.peers.len();
    scenario.draw(&mut crate::world::Rng::new(seed, "scenario"));
    println!("{}\n", scenario.about);
    let pins = set.pins.iter();
    let known = pins.filter(|pin| assumptions.sizes.contains_key(&pin.spec.cid));
    println!(
        "{} pins on {} peers; {} are as large as listed, the others taken to be {} MiB, links to carry {} Mbit/s:",
        set.pins.len(),
        set.peers.len(),
        known.count(),
        args.pin_mib,
        scenario.network.mbit
    );
    for (peer, number) in set.peers.iter().zip(1..) {
        println!("{number:>6}  {peer}");
    }
    print(&what_if::answer(&set, &scenario, &assumptions));
    Ok(ExitCode::SUCCESS)
}

fn read_list(path: &Path) -> anyhow::Result<Sizes> {
    let name = path.display();
    let bytes = read(path).with_context(|| name.to_string())?;
    let text = String::from_utf8(bytes).with_context(|| name.to_string())?;
    what_if::read_sizes(&text).map_err(|why| anyhow::anyhow!("{name}: {why}"))
}

fn print(answer: &Answer) {
    println!("\n  second  what happens");
    for (second, text) in &answer.story {
        println!("{second:>8}  {text}");
    }
    let healed = answer.healed_after.map_or_else(
        || "never, as the scenario ends".to_owned(),
        |span| Span(span).to_string(),
    );
    println!();
    println!("pins at risk (one copy within reach)   {}", answer.at_risk);
    println!(
        "pins out of reach for a while          {}",
        answer.unreachable
    );
    println!("pins lost                              {}", answer.lost);
    println!(
        "bytes to move                          {}",
        answer.bytes_moved
    );
    println!("time to heal                           {healed}");
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = OpenOptions::new().read(true).open(path)?;
    file.take(EXPORT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
