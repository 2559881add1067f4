//! The command line: one file per command.

mod explain;
mod explore;
mod list;
mod replay;
mod run;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::span::Span;

/// The shipping cluster peer through every kind of weather, from a seed.
#[derive(Debug, Parser)]
#[command(name = "ipfs-cluster-sim", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Run one scenario from one seed; exit code 1 when a property does not hold.
    Run(RunArgs),
    /// Run it twice and compare the traces, byte by byte.
    Replay(RunArgs),
    /// Run many seeds, a process each.
    Explore(explore::ExploreArgs),
    /// List the scenarios.
    List,
    /// Say what happens in a scenario.
    Explain {
        /// Name or TOML file.
        scenario: String,
    },
}

/// What is run.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Name (see `list`) or TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) scenario: String,
    /// Everything that happens by chance follows from it.
    #[arg(long)]
    pub(crate) seed: u64,
    /// Instead of the scenario's number of peers.
    #[arg(long, value_name = "P")]
    pub(crate) peers: Option<usize>,
    /// Instead of the scenario's length, e.g. 10m.
    #[arg(long = "for", value_name = "SPAN")]
    pub(crate) lasts: Option<Span>,
    /// Write everything that happens to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Print the peers' logs to standard error, e.g. `info` or `ipfs_cluster_node=debug`.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

impl Cli {
    /// Does what was asked.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Commands::Run(args) => run::execute(args),
            Commands::Replay(args) => replay::execute(&args),
            Commands::Explore(args) => explore::execute(&args),
            Commands::List => list::execute(),
            Commands::Explain { scenario } => explain::execute(&scenario),
        }
    }
}
