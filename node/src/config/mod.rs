//! From the configuration folder to a checked [`Config`].
//!
//! `keys` is the one table of what `service.json` may hold. `document` reads the file and lays the
//! environment over it, `section` hands out typed values, `checked` builds the [`Config`] that the
//! rest of the program works with, `init` writes a new folder, `source` fetches a configuration that
//! lies elsewhere. Errors name the key, the value and
//! the remedy; what is merely odd becomes a warning.

mod checked;
mod document;
mod error;
mod go_state;
pub mod identity;
pub mod init;
mod keys;
pub mod listen;
mod secret;
mod section;
mod servers;
pub mod source;
mod types;

pub use checked::{Loaded, load, load_fetched, load_identity};
pub use document::Variables;
pub use error::ConfigError;
pub use go_state::go_state;
pub use identity::Identity;
pub use secret::{Psk, Secret, SecretBytes};
pub use types::{
    ApiHost, Cluster, Config, Cors, Disk, DiskMetric, EmbeddedIpfs, HttpIpfs, HttpServer,
    Informers, Ipfs, Metrics, Profile, Proxy, Raft, Repair, Tls, Tracing, Tracker,
};

#[cfg(test)]
mod tests;
