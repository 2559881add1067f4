//! The command line.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use ipfs_cluster_node::config::init::IpfsKind;
use multiaddr::Multiaddr;

/// The version of the API, which is that of the program this one stands in for.
pub(super) const VERSION: &str = ipfs_cluster_protocol::api::id::API_VERSION;

/// Runs a peer of an IPFS cluster.
#[derive(Debug, Parser)]
#[command(name = "ipfs-cluster-service", version = VERSION)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub(super) struct Global {
    /// The configuration folder [default: ~/.ipfs-cluster]
    #[arg(short, long, global = true, env = "IPFS_CLUSTER_PATH")]
    pub(super) config: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub(super) force: bool,
    /// Log everything
    #[arg(short, long, global = true)]
    pub(super) debug: bool,
    /// LEVEL or COMPONENT:LEVEL, as a comma list; levels are error, warn, info, debug [default: info]
    #[arg(short, long, global = true, env = "IPFS_CLUSTER_LOG_LEVEL")]
    pub(super) loglevel: Option<String>,
    /// Form of the log
    #[arg(long, global = true, default_value = "text")]
    pub(super) log_format: LogFormat,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a new configuration folder
    Init(Init),
    /// Run the peer
    Daemon(Daemon),
    /// Act on the peer's copy of the pinset
    State {
        #[command(subcommand)]
        command: State,
    },
    /// Run a whole cluster on this machine, to try it out
    Dev(Dev),
    /// Print the version
    Version,
}

/// `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// Do not ask
    #[arg(short, long)]
    pub(super) force: bool,
    /// Address to fetch the configuration from (not supported)
    #[arg(hide = true)]
    pub(super) source: Option<String>,
    /// raft
    #[arg(long, default_value = "raft")]
    pub(super) consensus: String,
    /// Accepted for the sake of old scripts
    #[arg(long, hide = true)]
    pub(super) datastore: Option<String>,
    /// The IPFS node: `http` for one that runs beside the peer, `embedded` for one inside it
    #[arg(long, default_value = "http")]
    pub(super) ipfs: IpfsArg,
    /// Ask for the cluster's secret
    #[arg(short = 's', long)]
    pub(super) custom_secret: bool,
    /// Comma list of multiaddrs of other peers, ending in /p2p/PEER
    #[arg(long, value_delimiter = ',')]
    pub(super) peers: Vec<Multiaddr>,
    /// Take free ports instead of the usual ones
    #[arg(long)]
    pub(super) randomports: bool,
}

/// Which IPFS node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum IpfsArg {
    /// Over its RPC.
    Http,
    /// In the peer's process.
    Embedded,
}

impl From<IpfsArg> for IpfsKind {
    fn from(kind: IpfsArg) -> Self {
        match kind {
            IpfsArg::Http => Self::Http,
            IpfsArg::Embedded => Self::Embedded,
        }
    }
}

/// `daemon`.
#[derive(Debug, Default, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct Daemon {
    /// Comma list of multiaddrs, ending in /p2p/PEER, of a cluster to join; a peer with state only
    /// dials them
    #[arg(short = 'j', long, value_delimiter = ',')]
    pub(super) bootstrap: Vec<Multiaddr>,
    /// Leave the cluster at the end
    #[arg(short = 'x', long, hide = true)]
    pub(super) leave: bool,
    /// Serve metrics for Prometheus on their own address
    #[arg(long)]
    pub(super) stats: bool,
    /// Stop when stdin ends: whoever started the peer is gone
    #[arg(long, hide = true)]
    pub(super) until_stdin_ends: bool,
    /// Accepted for the sake of old scripts
    #[arg(short = 'u', long, hide = true)]
    pub(super) upgrade: bool,
    /// Accepted for the sake of old scripts
    #[arg(long, hide = true)]
    pub(super) tracing: bool,
    /// Accepted for the sake of old scripts
    #[arg(long, hide = true)]
    pub(super) no_trust: bool,
}

/// `state`.
#[derive(Debug, Subcommand)]
pub(super) enum State {
    /// Print the pinset, one object per line; the peer may run or not
    Export {
        /// Write to a file
        #[arg(short, long)]
        file: Option<PathBuf>,
    },
    /// Move the peer's state aside; it then joins or forms a cluster anew
    Cleanup {
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
}

/// `dev`.
#[derive(Debug, clap::Args)]
pub(super) struct Dev {
    /// How many
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=15))]
    pub(super) peers: u8,
    /// A process for each peer
    #[arg(long)]
    pub(super) processes: bool,
    /// How long a peer may be down before its pins are copied elsewhere
    #[arg(long, default_value = "5m")]
    pub(super) repair_grace: String,
    /// Keep everything here; a folder of an earlier run is continued [default: a new temporary one]
    #[arg(long)]
    pub(super) folder: Option<PathBuf>,
    /// Print one JSON object when ready, and nothing else
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads the command line, or prints what is to be said instead.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, ExitCode> {
    Args::try_parse_from(args).map_err(|e| match e.kind() {
        ErrorKind::DisplayVersion => {
            println!("ipfs-cluster-service version {VERSION}");
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelp => {
            let _ = e.print();
            ExitCode::SUCCESS
        }
        ErrorKind::InvalidSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            help()
        }
        _ => {
            let _ = e.print();
            ExitCode::FAILURE
        }
    })
}

/// Prints the help; no command is a failure.
pub(super) fn help() -> ExitCode {
    use std::io::Write;
    // Nobody to tell when stdout is closed.
    let _ = write!(std::io::stdout(), "{}", Args::command().render_help());
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn known_lines_are_read() {
        for line in [
            "init -f --consensus raft --randomports --peers /ip4/1.2.3.4/tcp/1/p2p/12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA",
            "-c /x init --ipfs embedded -s",
            "--debug daemon --bootstrap /ip4/1.2.3.4/tcp/1,/ip4/1.2.3.5/tcp/1 --log-format json",
            "daemon -u -j /ip4/1.2.3.4/tcp/1 --no-trust -l debug,raft:info",
            "state export -f out.json",
            "state cleanup -f",
            "dev --peers 5 --processes --repair-grace 10s --folder /x --json",
            "version",
        ] {
            let words = std::iter::once("ipfs-cluster-service").chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
