//! `ipfs-cluster-service`: runs a cluster peer.

mod cli;

use std::process::ExitCode;

/// A peer makes and drops many small things on many threads: the system's allocator takes a tenth of
/// the processor for it and gives little of the memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
