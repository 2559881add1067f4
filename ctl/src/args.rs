//! The command line.

use std::ffi::OsString;

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    cmd::{add::AddArgs, bench::BenchArgs, health::HealthArgs, pin::PinArgs},
    exit::Code,
};

/// Controls an IPFS Cluster peer through its API.
#[derive(Debug, Parser)]
#[command(name = "ipfs-cluster-ctl", version = VERSION, disable_help_subcommand = false)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The version of the API, which is that of the program this one stands in for.
const VERSION: &str = ipfs_cluster_protocol::api::id::API_VERSION;

/// Flags before the command.
#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Global {
    /// Addresses of the API, tried in order: multiaddrs over TCP, /unix/PATH, or with /p2p/PEER
    #[arg(short = 'l', long, default_value = "/ip4/127.0.0.1/tcp/9094")]
    pub(crate) host: String,
    /// The cluster's secret (64 hex digits), for addresses with /p2p/PEER
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) secret: String,
    /// Use https (not available in this build)
    #[arg(short = 's', long)]
    pub(crate) https: bool,
    /// Accept any certificate
    #[arg(long)]
    pub(crate) no_check_certificate: bool,
    /// Form of the output: text or json
    #[arg(long, visible_alias = "enc", default_value = "text")]
    pub(crate) encoding: String,
    /// Seconds a request may take, 0 for no limit
    #[arg(short = 't', long, default_value_t = 0)]
    pub(crate) timeout: u64,
    /// Print requests and answers to stderr
    #[arg(short = 'd', long)]
    pub(crate) debug: bool,
    /// USER[:PASSWORD] of a protected API
    #[arg(
        long,
        env = "CLUSTER_CREDENTIALS",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) basic_auth: String,
    /// Send credentials over plain http
    #[arg(short = 'f', long)]
    pub(crate) force_http: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the peer and its IPFS node
    Id,
    /// Show the version of the server
    Version,
    /// List or remove peers
    Peers {
        #[command(subcommand)]
        command: Option<Peers>,
    },
    /// Add files to IPFS and pin them
    Add(AddArgs),
    /// Add, remove, update and list pins
    Pin {
        #[command(subcommand)]
        command: Option<PinArgs>,
    },
    /// Show how far pins have come
    Status {
        /// All pins if none is given
        cids: Vec<String>,
        /// Ask this peer alone
        #[arg(short, long)]
        local: bool,
        /// Comma list of statuses
        #[arg(long, default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Retry what failed
    Recover {
        /// All that failed if none is given
        cid: Option<String>,
        /// At this peer alone
        #[arg(short, long)]
        local: bool,
    },
    /// Watch the cluster
    Health {
        #[command(subcommand)]
        command: Option<HealthArgs>,
    },
    /// Act on the IPFS nodes
    Ipfs {
        #[command(subcommand)]
        command: Option<Ipfs>,
    },
    /// Measure pins per second
    Bench(BenchArgs),
    /// Print a script of completions
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// List all commands
    #[command(hide = true)]
    Commands,
}

/// On peers.
#[derive(Debug, Subcommand)]
pub(crate) enum Peers {
    /// List the peers
    Ls,
    /// Remove a peer; its pins are copied elsewhere first
    Rm {
        /// Its ID
        peer: String,
        /// Remove it at once, without copying its pins first
        #[arg(long)]
        no_drain: bool,
    },
}

/// On the IPFS nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum Ipfs {
    /// Collect garbage
    Gc {
        /// At this peer alone
        #[arg(short, long)]
        local: bool,
    },
}

/// Reads the command line, or prints what is to be said instead.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, Code> {
    let args = args.into_iter().map(long_form);
    let parsed = Args::command()
        .try_get_matches_from(args)
        .and_then(|matches| Args::from_arg_matches(&matches));
    parsed.map_err(|e| tell(&e))
}

/// `-rmin` is `--rmin`: flags of several letters may have one dash.
fn long_form(arg: OsString) -> OsString {
    let Some(text) = arg.to_str() else { return arg };
    let name = text.strip_prefix('-').unwrap_or_default();
    let mut chars = name.chars();
    let letters = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '-');
    if letters {
        format!("-{text}").into()
    } else {
        arg
    }
}

fn tell(e: &clap::Error) -> Code {
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = e.print();
            Code::Done
        }
        ErrorKind::InvalidSubcommand => {
            if let Some(ContextValue::String(name)) = e.get(ContextKind::InvalidSubcommand) {
                eprintln!("No help topic for '{name}'");
            }
            Code::NoCommand
        }
        _ => {
            let _ = e.print();
            Code::Usage
        }
    }
}

/// Prints the help of a command, or of a command's subcommand.
pub(crate) fn help(path: &[&str]) -> Code {
    let mut command = Args::command();
    command.build();
    let found = path
        .iter()
        .try_fold(&mut command, |c, name| c.find_subcommand_mut(name));
    if let Some(command) = found {
        // Nobody to tell when stdout is closed.
        let _ = crate::output::write(&command.render_help().to_string());
    }
    Code::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, Code> {
        let words = std::iter::once("ipfs-cluster-ctl").chain(line.split_whitespace());
        parse(words.map(OsString::from))
    }

    #[test]
    fn the_tree_of_commands_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn known_lines_of_the_go_program_are_read() {
        for line in [
            "",
            "id",
            "--enc json --host /ip4/1.2.3.4/tcp/1 peers ls",
            "-l /unix/x -t 5 -d --basic-auth u:p -f version",
            "add -r -q --rmin 2 --rmax 3 -n name --metadata a=b --metadata c=d --allocs A,B --wait --wt 5m -w file",
            "add -rmin 2 -Q --no-pin --cid-version 1 --raw-leaves=false --format car --layout trickle -s size-4 -H d",
            "pin add -r 2 --ns --mode direct --expire-in 1h Qm",
            "pin add -rmin -1 -rmax -1 -w -wl 2 -wt 1m Qm",
            "pin rm --no-status /ipfs/Qm/x",
            "pin update -n x Qm1 Qm2",
            "pin ls --filter all Qm",
            "status --local --filter pinned,error",
            "status a b c",
            "recover --local",
            "health graph --all-ipfs-peers --file x",
            "health metrics ping",
            "health alerts",
            "ipfs gc --local",
            "completion bash",
        ] {
            assert!(read(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_not_a_command_has_a_code_of_its_own() {
        for line in ["frobnicate", "peers add X", "pin frob"] {
            assert_eq!(read(line).unwrap_err(), Code::NoCommand, "{line}");
        }
        assert_eq!(read("id --frob").unwrap_err(), Code::Usage);
        assert_eq!(read("--help").unwrap_err(), Code::Done);
        assert_eq!(read("--version").unwrap_err(), Code::Done);
    }
}
