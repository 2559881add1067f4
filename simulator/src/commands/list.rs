//! `list`: the scenarios that come with the program, and the faults that can be planted.

use std::process::ExitCode;

use crate::{
    mutate,
    scenario::{Scenario, names},
};

pub(super) fn execute(mutations: bool) -> anyhow::Result<ExitCode> {
    if mutations {
        for planted in mutate::TABLE {
            println!("{:<28} {}", planted.name, planted.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in names() {
        println!("{name:<18} {}", Scenario::load(name)?.about);
    }
    println!("\n`explain NAME` tells what happens in one, `run --scenario NAME` lets it happen.");
    Ok(ExitCode::SUCCESS)
}
