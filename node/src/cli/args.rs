//! The command line.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use ipfs_cluster_node::config::init::IpfsKind;
use ipfs_cluster_protocol::command_line::{self, Flags};
use ipfs_cluster_protocol::id::PeerId;
use multiaddr::Multiaddr;

/// The version of the API, which is that of the program this one stands in for.
pub(super) const VERSION: &str = ipfs_cluster_protocol::api::id::API_VERSION;

const EXAMPLES: &str = "\
Examples:
  ipfs-cluster-service dev                           a whole cluster to try, on this machine
  ipfs-cluster-service init && ipfs-cluster-service daemon
                                                     the first peer of a cluster
  CLUSTER_SECRET=... ipfs-cluster-service init && \\
  ipfs-cluster-service daemon --bootstrap /ip4/192.0.2.1/tcp/9096/p2p/ID
                                                     a further one
  ipfs-cluster-service state export -f pins.json     a backup, of a running peer too
  ipfs-cluster-service --loglevel info,raft:debug daemon

Every key of service.json has a variable: CLUSTER_SECRET, CLUSTER_PEERNAME,
CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS, CLUSTER_IPFSHTTP_NODEMULTIADDRESS, and so on.";

/// Runs a peer of an IPFS cluster.
#[derive(Debug, Parser)]
#[command(
    name = "ipfs-cluster-service",
    version = VERSION,
    disable_version_flag = true,
    max_term_width = 100,
    after_long_help = EXAMPLES,
)]
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
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
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
    /// Act on the peer's log while the peer does not run
    Raft {
        #[command(subcommand)]
        command: Raft,
    },
    /// Run a whole cluster on this machine, to try it out
    Dev(Dev),
    /// Print the version
    Version,
    /// Print a script of completions, for a file that the shell reads
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for `man -l -`, or write one for each command
    Man {
        /// Where to
        folder: Option<PathBuf>,
    },
}

/// `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// Do not ask
    #[arg(short, long)]
    pub(super) force: bool,
    /// Address (http:// or https://) of the configuration, asked at every start of the daemon
    #[arg(value_name = "http-source-url")]
    pub(super) source: Option<String>,
    /// Consensus: raft is the one there is
    #[arg(long, default_value = "raft")]
    pub(super) consensus: String,
    /// Accepted for the sake of old scripts
    #[arg(long, hide = true, default_value = "pebble")]
    pub(super) datastore: String,
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
    /// Comma list of multiaddrs of a cluster to join; one without /p2p/PEER is asked who it is; a
    /// peer with state only dials them
    #[arg(short = 'j', long, value_delimiter = ',')]
    pub(super) bootstrap: Vec<Multiaddr>,
    /// Leave the cluster at the end
    #[arg(short = 'x', long, hide = true)]
    pub(super) leave: bool,
    /// Serve metrics for Prometheus on their own address
    #[arg(long)]
    pub(super) stats: bool,
    /// Start without pins although the folder holds the state of a Go peer
    #[arg(long)]
    pub(super) start_empty: bool,
    /// Stop when stdin ends: whoever started the peer is gone
    #[arg(long, hide = true)]
    pub(super) until_stdin_ends: bool,
    /// Accepted for the sake of old scripts
    #[arg(short = 'u', long, hide = true)]
    pub(super) upgrade: bool,
    /// Send spans to a collector (OTLP), as observations.tracing says
    #[arg(long)]
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
    /// Replace the pinset by that of a file that `export` wrote, here or in the Go program
    Import(ImportArgs),
    /// Move the peer's state aside; it then joins or forms a cluster anew
    Cleanup {
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
    /// Of the Go program's other consensus
    #[command(hide = true)]
    Crdt {
        /// What came
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

/// `state import`.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The file [default: stdin]
    pub(super) path: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub(super) force: bool,
    /// Fewest copies of every pin, above 0 instead of what the file says
    #[arg(long, visible_alias = "rmin", default_value_t = 0)]
    pub(super) replication_min: i32,
    /// Most copies of every pin, above 0 instead of what the file says
    #[arg(long, visible_alias = "rmax", default_value_t = 0)]
    pub(super) replication_max: i32,
    /// Comma list of peer IDs that hold every pin, instead of what the file says
    #[arg(
        long,
        visible_alias = "allocs",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) allocations: String,
}

/// `raft`.
#[derive(Debug, Subcommand)]
pub(super) enum Raft {
    /// Go on from this peer alone when a majority of the voters is lost for good; run it on ONE
    /// survivor, the others join it
    Recover {
        /// Comma list of peer IDs of survivors: they stay members. All others are taken out
        #[arg(long, value_delimiter = ',')]
        peers: Vec<PeerId>,
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
    let words = command_line::rewrite(args, &flags(&whole()));
    Args::try_parse_from(words).map_err(|e| match e.kind() {
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

/// The tree of commands, `help` and its flags included.
pub(super) fn whole() -> clap::Command {
    let mut command = Args::command();
    command.build();
    command
}

/// The flags of a command and of all below it.
fn flags(command: &clap::Command) -> Flags {
    let mut found = Flags::default();
    for arg in command.get_arguments().filter(|a| !a.is_positional()) {
        let takes = arg.get_num_args().unwrap_or_default();
        let kind = if takes.max_values() == 0 {
            &mut found.switches
        } else {
            &mut found.values
        };
        let long = arg.get_long_and_visible_aliases().unwrap_or_default();
        kind.extend(long.into_iter().map(str::to_owned));
        let short = arg.get_short_and_visible_aliases().unwrap_or_default();
        kind.extend(short.into_iter().map(|c| c.to_string()));
    }
    for below in command.get_subcommands() {
        found
            .below
            .insert(below.get_name().to_owned(), flags(below));
    }
    found
}

/// The manual page of the program, or those of all commands into a folder.
pub(super) fn manual(folder: Option<&Path>) -> io::Result<()> {
    let Some(folder) = folder else {
        return clap_mangen::Man::new(whole()).render(&mut io::stdout());
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "the user names a folder of their own"
    )]
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(whole(), folder)
}

/// Prints the help; no command is a failure.
pub(super) fn help() -> ExitCode {
    use std::io::Write;
    // Nobody to tell when stdout is closed.
    let _ = write!(io::stdout(), "{}", Args::command().render_help());
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
            "state import",
            "state import -f -rmin 2 --rmax 3 -allocs A,B pins.json",
            "-debug=false init -consensus=raft -f=true https://example.org/service.json",
            "state crdt info",
            "daemon --start-empty",
            "completion zsh",
            "man",
            "raft recover --peers 12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA --force",
            "dev --peers 5 --processes --repair-grace 10s --folder /x --json",
            "version",
        ] {
            let words = std::iter::once("ipfs-cluster-service").chain(line.split(' '));
            assert!(parse(words.map(OsString::from)).is_ok(), "{line}");
        }
    }
}
