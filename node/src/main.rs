//! `ipfs-cluster-service`: runs a cluster peer.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
