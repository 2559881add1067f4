//! Why a configuration folder cannot be used.

use std::{io, path::PathBuf};

/// Why a configuration folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be opened or read.
    #[error("open {}: {}", path.display(), os_text(source))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("write {}: {}", path.display(), os_text(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not the JSON object it should be.
    #[error("{}: {why}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// The configuration is at an address that does not give it.
    #[error("could not fetch configuration from source: {url}: {why}")]
    Source {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// A value cannot be used.
    #[error("{key}: {value} cannot be used: {remedy}")]
    Value {
        /// Path of the key, and the environment variable that set it if one did.
        key: String,
        /// The value, or `the value` when it is secret.
        value: String,
        /// What to write instead.
        remedy: String,
    },
    /// A section is missing, superfluous or of another program.
    #[error("{section}: {remedy}")]
    Section {
        /// Path of the section.
        section: &'static str,
        /// What is wrong and what to do.
        remedy: &'static str,
    },
    /// The identity's parts do not belong together.
    #[error("{origin}: {why}")]
    Identity {
        /// File or environment variables.
        origin: String,
        /// What is wrong and what to do.
        why: String,
    },
}

/// The words of the system's error in lower case and without its number, as Go prints them.
fn os_text(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    }
}
