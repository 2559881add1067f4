//! `ipfs-cluster-ctl`: the command line over the client.
//!
//! `args` reads the command line, `cmd` has one file per noun, `output` prints, `exit` knows the
//! codes.

mod args;
mod cmd;
mod exit;
mod output;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cmd::run(args)).into(),
        Err(e) => {
            eprintln!("error starting: {e}");
            exit::Code::Usage.into()
        }
    }
}
