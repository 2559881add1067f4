//! The command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use ipfs_cluster_protocol::command_line::{self, Flags};

use crate::{
    cmd::{add::AddArgs, bench::BenchArgs, content::GetArgs, health::HealthArgs, pin::PinArgs},
    exit::Code,
};

/// Controls an IPFS Cluster peer through its API.
///
/// The API is looked for at /ip4/127.0.0.1/tcp/9094; --host names another place, or several: they
/// are tried in order until one can be reached. With the swarm address of a peer, /p2p/ID included,
/// requests travel inside the cluster's own network, and --secret is needed.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version = VERSION,
    disable_version_flag = true,
    max_term_width = 100,
    after_long_help = EXAMPLES,
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const NAME: &str = "ipfs-cluster-ctl";

const EXAMPLES: &str = "\
Examples:
  ipfs-cluster-ctl add --rmin 2 --rmax 3 FILE       store a file on two or three peers
  ipfs-cluster-ctl pin add --wait CID               pin, and return once it is pinned
  ipfs-cluster-ctl pin add --expire-in 24h CID      pin for a day
  ipfs-cluster-ctl status --filter error            what failed, where and why
  ipfs-cluster-ctl --enc json pin ls | jq .cid      for other programs
  ipfs-cluster-ctl --host /dns4/a.example/tcp/9094 --basic-auth USER:PASSWORD id

Exit codes:
  0 done, 1 wrong usage or no server, 2 the server answered with an error, 3 no such command,
  62 --wait-timeout ran out, 125 cancelled, 141 whoever read the output has gone";

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
    /// Use https for addresses over TCP
    #[arg(short = 's', long)]
    pub(crate) https: bool,
    /// Accept any certificate, with --https
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
    /// USER[:PASSWORD] of a protected API; uses https, see --force-http
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
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
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
    Add(Box<AddArgs>),
    /// Print files, read through the peer
    Cat {
        /// CIDs, or /ipfs/CID/…
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// List folders, read through the peer
    Ls {
        /// CIDs, or /ipfs/CID/…
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Fetch a file or a folder through the peer
    Get(GetArgs),
    /// Add, remove, update and list pins
    Pin {
        #[command(subcommand)]
        command: Option<PinArgs>,
    },
    /// Show how far pins have come
    Status {
        /// All pins if none is given
        cids: Vec<String>,
        /// Ask the contacted peer alone
        #[arg(long)]
        local: bool,
        /// Comma list of statuses, of all pins: cluster_error, pin_error, unpin_error, error, pinned,
        /// pinning, unpinning, unpinned, remote, pin_queued, unpin_queued, queued, sharded,
        /// unexpectedly_unpinned
        #[arg(long, default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Retry what failed
    Recover {
        /// All that failed if none is given
        cid: Option<String>,
        /// At the contacted peer alone
        #[arg(long)]
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
        /// At the contacted peer alone
        #[arg(long)]
        local: bool,
    },
}

/// Reads the command line, or prints what is to be said instead.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, Code> {
    let words = command_line::rewrite(args, &flags(&whole()));
    let parsed = whole()
        .try_get_matches_from(words)
        .and_then(|matches| Args::from_arg_matches(&matches));
    parsed.map_err(|e| tell(&e))
}

/// The tree of commands, `help` and its flags included.
pub(crate) fn whole() -> clap::Command {
    let mut command = Args::command();
    command.build();
    command.mut_subcommand("help", |help| help.alias("h"))
}

/// The flags of a command and of all below it.
fn flags(command: &clap::Command) -> Flags {
    let mut found = Flags::default();
    for arg in command.get_arguments().filter(|a| !a.is_positional()) {
        let takes = arg.get_num_args().unwrap_or_default();
        let kind = if takes.max_values() == 0 {
            &mut found.switches
        } else if takes.min_values() == 0 {
            &mut found.optional
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

fn tell(e: &clap::Error) -> Code {
    match e.kind() {
        ErrorKind::DisplayHelp => {
            let _ = e.print();
            Code::Done
        }
        ErrorKind::DisplayVersion => {
            // Nobody to tell when stdout is closed.
            let _ = crate::output::write(&format!("{NAME} version {VERSION}\n"));
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
    let mut command = whole();
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
            "-enc=json --debug=true -timeout 5 id",
            "pin add -wait=false -name -odd- -metadata a=b Qm",
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
            "man",
            "h",
            "--v",
        ] {
            let said = read(line).err();
            assert!(said.is_none() || said == Some(Code::Done), "{line}");
        }
    }

    /// Scripts of the Go cluster check that a terminal of 120 columns shows every help as it is.
    #[test]
    fn no_help_is_wider_than_a_terminal() {
        let mut open = vec![whole()];
        while let Some(mut command) = open.pop() {
            let help = command.render_long_help().to_string();
            let short = command.render_help().to_string();
            for line in help.lines().chain(short.lines()) {
                let width = line.chars().count();
                assert!(width <= 120, "{}: {line}", command.get_name());
            }
            open.extend(command.get_subcommands().cloned());
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
