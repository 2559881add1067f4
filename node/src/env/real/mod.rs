//! The real side of the doors: the operating system's sockets, files and threads.
//!
//! ```text
//! transport  TCP below DNS            listen, connect  TCP and unix sockets (net.rs)
//! disk       files, fsync, flock      discovery        mDNS
//! lanes      one thread each
//! ```

mod discovery;
mod disk;
mod lanes;
mod net;
mod open_files;
mod process;
mod transport;

use std::sync::Arc;

pub use open_files::{OpenFiles, raise_open_files};
pub use process::{ProcessUsage, process_usage};

use super::Env;

/// The doors to this machine. Sockets need tokio's reactor: call it, and use it, inside a runtime.
#[must_use]
pub fn env() -> Env {
    Env {
        transport: Arc::new(transport::Tcp),
        disk: Arc::new(disk::FileSystem),
        lanes: Arc::new(lanes::Threads),
        listen: Arc::new(net::Sockets),
        connect: Arc::new(net::Sockets),
        discovery: Arc::new(discovery::Mdns),
    }
}
