//! `list`: the scenarios that come with the program.

use std::process::ExitCode;

use crate::scenario::{Scenario, names};

pub(super) fn execute() -> anyhow::Result<ExitCode> {
    for name in names() {
        println!("{name:<18} {}", Scenario::load(name)?.about);
    }
    Ok(ExitCode::SUCCESS)
}
