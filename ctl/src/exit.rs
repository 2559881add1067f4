//! Exit codes, and errors on their way to them.

use std::process::ExitCode;

use ipfs_cluster_ctl::client::Error;

/// What the shell sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done.
    Done,
    /// Wrong usage, local trouble, or no server.
    Usage,
    /// The server answered with an error.
    Server,
    /// No such command.
    NoCommand,
    /// `--wait-timeout` ran out.
    WaitTimeout,
    /// Ended by a signal.
    Cancelled,
    /// Nobody reads the output any more: what a shell shows of a program that `SIGPIPE` has ended.
    ReaderGone,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(match code {
            Code::Done => 0,
            Code::Usage => 1,
            Code::Server => 2,
            Code::NoCommand => 3,
            Code::WaitTimeout => 62,
            Code::Cancelled => 125,
            Code::ReaderGone => 141,
        })
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Printed to stderr as `error <doing>: <text>`.
    #[error("error {doing}: {text}")]
    Local {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        text: String,
    },
    /// A call failed; printed to stdout if the server said so.
    #[error(transparent)]
    Call(#[from] Error),
    /// `--wait-timeout` ran out.
    #[error("error waiting for pin status: context deadline exceeded")]
    WaitTimeout,
    /// As in `pin ls | head`; nothing is said.
    #[error("nobody reads the output any more")]
    ReaderGone,
}

impl Failure {
    /// A failure of this machine.
    pub(crate) fn local(doing: &'static str, text: impl ToString) -> Self {
        Self::Local {
            doing,
            text: text.to_string(),
        }
    }
}
