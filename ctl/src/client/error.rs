//! Why a call failed.

use std::time::Duration;

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A text is no address of an API.
    #[error("{text:?} is no address of an API: {why}")]
    Address {
        /// The text.
        text: String,
        /// What to write instead.
        why: String,
    },
    /// No target could be reached.
    #[error("{target}: {why}")]
    Connect {
        /// The last one tried.
        target: String,
        /// Why not.
        why: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{target}: {why}")]
    Exchange {
        /// With whom.
        target: String,
        /// What broke.
        why: String,
    },
    /// No answer within the time given.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server answered with an error.
    #[error("{message}")]
    Api {
        /// The HTTP status; 500 for an error that ended a stream.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The server's answer cannot be understood.
    #[error("the answer cannot be understood: {0}")]
    Decode(String),
    /// A file to upload cannot be read.
    #[error("{0}")]
    Upload(String),
}

impl Error {
    /// The HTTP status of a server's error, 0 for everything else.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Api { code, .. } => *code,
            _ => 0,
        }
    }
}
