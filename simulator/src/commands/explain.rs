//! `explain`: a scenario in words.

use std::process::ExitCode;

use crate::scenario::Scenario;

pub(super) fn execute(name: &str) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(name)?;
    let weather = &scenario.network;
    println!("{}\n", scenario.about);
    println!(
        "{} peers for {}, then everything must be well within {}.",
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
    println!(
        "Clients send {} writes and {} linearizable reads per second, over {} CIDs.",
        scenario.workload.writes_per_second,
        scenario.workload.reads_per_second,
        scenario.workload.cids
    );
    for timed in &scenario.faults {
        println!("{:>8}  {:?}", timed.at.to_string(), timed.fault);
    }
    if let Some(every) = scenario.random_fault_every {
        println!("About every {every} something happens that is drawn from the seed.");
    }
    Ok(ExitCode::SUCCESS)
}
