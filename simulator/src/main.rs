//! Runs simulations.

use std::process::ExitCode;

use clap::Parser as _;
use ipfs_cluster_sim::commands::Cli;
use mimalloc::MiMalloc;

/// That of the peers.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    Cli::parse().execute().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
