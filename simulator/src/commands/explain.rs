//! `explain`: a scenario in words.

use std::process::ExitCode;

use clap::Args;

use crate::{scenario::Scenario, world::Rng};

/// What is explained.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Name (see `list`) or TOML file.
    scenario: String,
    /// Show what this seed makes of it, where something is drawn.
    #[arg(long)]
    seed: Option<u64>,
}

pub(super) fn execute(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let mut scenario = Scenario::load(&args.scenario)?;
    println!("{}\n", scenario.about);
    match args.seed {
        Some(seed) => {
            scenario.draw_setting(seed);
            scenario.draw(&mut Rng::new(seed, "scenario"));
        }
        None if scenario.drawn => {
            println!(
                "`explain {} --seed 7` shows what seed 7 draws.",
                args.scenario
            );
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    setting(&scenario);
    println!("\nWhat goes wrong, and when (the clock starts once everybody has joined):\n");
    for timed in &scenario.faults {
        println!("{:>10}  {:?}", timed.at.to_string(), timed.fault);
    }
    if scenario.faults.is_empty() {
        println!("{:>10}  nothing", "");
    }
    if let Some(every) = scenario.random_fault_every.filter(|_| args.seed.is_none()) {
        println!("About every {every} something happens that is drawn from the seed.");
    }
    println!(
        "{:>10}  everything that is broken is mended, everybody who is down starts",
        scenario.lasts.to_string()
    );
    Ok(ExitCode::SUCCESS)
}

fn setting(scenario: &Scenario) {
    let (weather, tuning) = (&scenario.network, &scenario.tuning);
    println!(
        "{} peers for {} of virtual time; then everything must be well within {}.",
        scenario.peers, scenario.lasts, scenario.settle
    );
    println!(
        "Links take {} to {} ms, carry {} Mbit/s, lose {} % and reset at {} % of the segments.",
        weather.latency_ms.0,
        weather.latency_ms.1,
        weather.mbit,
        weather.loss_percent,
        weather.reset_percent
    );
    for zone in &scenario.zones {
        println!("Zone {} has peers {:?}.", zone.name, zone.peers);
    }
    for link in &scenario.between {
        let ((a, b), weather) = (&link.zones, &link.weather);
        println!(
            "Links between {a} and {b} take {} to {} ms, carry {} Mbit/s, lose {} %.",
            weather.latency_ms.0, weather.latency_ms.1, weather.mbit, weather.loss_percent
        );
    }
    if scenario.kubo > 0 {
        println!("The last {} peers have a Kubo beside them.", scenario.kubo);
    }
    println!(
        "Clients send {} writes and {} reads per second, over {} CIDs.",
        scenario.workload.writes_per_second,
        scenario.workload.reads_per_second,
        scenario.workload.cids
    );
    for zone in &scenario.zones {
        println!("Zone {} is where peers {:?} are.", zone.name, zone.peers);
    }
    for between in &scenario.between {
        let (a, b) = &between.zones;
        let (low, high) = between.weather.latency_ms;
        println!("Between {a} and {b} links take {low} to {high} ms.");
    }
    if scenario.kubo > 0 {
        println!(
            "The last {} have a simulated Kubo beside them.",
            scenario.kubo
        );
    }
    println!(
        "A peer is missed {} s after its last sign of life; its pins move after another {}.",
        2 * tuning.ping_interval.0.as_secs(),
        tuning.repair_grace
    );
}
