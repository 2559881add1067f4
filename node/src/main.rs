//! `ipfs-cluster-service`: runs a cluster peer.

mod cli;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Many small values live across threads: with the system's allocator a pin costs a fifth more.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
