//! The command line: one file per command.

mod explain;
mod explore;
mod list;
mod mutations;
mod pure;
mod replay;
mod run;
mod what_if;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{interpose, mutate, scenario::Scenario, span::Span};

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
    Run(run::RunArgs),
    /// Run it twice and compare the traces, byte by byte.
    Replay(run::RunArgs),
    /// Run many seeds, a process each; exit code 1 when one of them fails.
    Explore(explore::ExploreArgs),
    /// Random steps of the pure core alone: no network, no disk, millions of them.
    Core(pure::CoreArgs),
    /// Plant every fault in turn and print what finds it, as the documentation has it.
    Mutations(mutations::MutationsArgs),
    /// List the scenarios, or the faults that can be planted.
    List {
        /// The faults for `--mutate`.
        #[arg(long)]
        mutations: bool,
    },
    /// Say what happens in a scenario.
    Explain(explain::ExplainArgs),
}

/// Which scenario, and what is otherwise than it says.
#[derive(Debug, Clone, Args)]
pub(crate) struct What {
    /// Name (see `list`) or TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "swarm")]
    pub(crate) scenario: String,
    /// Instead of the scenario's number of peers.
    #[arg(long, value_name = "P")]
    pub(crate) peers: Option<usize>,
    /// Instead of the scenario's length, e.g. 10m.
    #[arg(long = "for", value_name = "SPAN")]
    pub(crate) lasts: Option<Span>,
    /// Plant a fault (see `list --mutations`) to see that it is found.
    #[arg(long, value_name = "NAME")]
    pub(crate) mutate: Option<String>,
}

/// One run of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Seeded {
    #[command(flatten)]
    pub(crate) what: What,
    /// Everything that happens by chance follows from it.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Where a run leaves what it saw.
#[derive(Debug, Clone, Args)]
pub(crate) struct Outputs {
    /// Write everything that happens to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Write a page that shows what became of every peer over time.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Print the peers' logs to standard error, e.g. `info` or `ipfs_cluster_node=debug`.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

impl Seeded {
    /// The scenario with what the command line says otherwise.
    pub(crate) fn load(&self) -> anyhow::Result<Scenario> {
        let mut scenario = Scenario::load(&self.what.scenario)?;
        scenario.draw_setting(self.seed);
        if let Some(peers) = self.what.peers {
            scenario.resize(peers);
        }
        if let Some(lasts) = self.what.lasts {
            scenario.lasts = lasts;
            scenario.faults.retain(|fault| fault.at <= lasts);
        }
        scenario.check().map_err(anyhow::Error::msg)?;
        Ok(scenario)
    }

    /// The same on another command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = self.what.arguments();
        arguments.extend(["--seed".to_owned(), self.seed.to_string()]);
        arguments
    }
}

impl What {
    /// The same on another command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--scenario".to_owned(), self.scenario.clone()];
        let mut add = |name: &str, value: Option<String>| {
            arguments.extend(value.into_iter().flat_map(|v| [format!("--{name}"), v]));
        };
        add("peers", self.peers.map(|peers| peers.to_string()));
        add("for", self.lasts.map(|lasts| lasts.to_string()));
        add("mutate", self.mutate.clone());
        arguments
    }

    /// Plants what was asked for.
    pub(crate) fn plant(&self) -> anyhow::Result<()> {
        let planted = self.mutate.as_deref().map(mutate::plant);
        planted.transpose().map_err(anyhow::Error::msg)?;
        Ok(())
    }
}

impl Cli {
    /// Does what was asked.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        interpose::end_with_the_reader();
        match self.command {
            Commands::Run(args) => run::execute(args),
            Commands::Replay(args) => replay::execute(&args),
            Commands::Explore(args) => explore::execute(&args),
            Commands::Core(args) => pure::execute(&args),
            Commands::Mutations(args) => mutations::execute(&args),
            Commands::List { mutations } => list::execute(mutations),
            Commands::Explain(args) => explain::execute(&args),
        }
    }
}
