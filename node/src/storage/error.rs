//! Why a store could not be opened or read, in words that name the file and the remedy.

use std::{
    cell::Cell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use ipfs_cluster_protocol::{id::ClusterId, state::tx::StoreError};

use crate::env::LaneClosed;

/// A store or the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
    /// The bytes are not what was written.
    #[error("{} is damaged: {what}. {remedy}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// Written by a newer version of the program.
    #[error(
        "{} has format {found}, this version knows up to {known}: run the newer version",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The folder belongs to another cluster than expected.
    #[error(
        "{} belongs to cluster {found}, not to {expected}: move the folder aside to join as a new peer",
        path.display()
    )]
    OtherCluster {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// Another process runs on the folder.
    #[error("{} is in use by another process: stop it first", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peer is shutting down.
    #[error(transparent)]
    Closed(#[from] LaneClosed),
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn damaged(path: &Path, what: &dyn std::fmt::Display) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            what: what.to_string(),
            remedy: REMEDY,
        }
    }
}

/// A read of the state that could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed; the peer stops.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peer is shutting down.
    #[error(transparent)]
    Closed(#[from] LaneClosed),
}

/// What an operator does about a damaged file of a peer that has live fellows.
pub(crate) const REMEDY: &str = "Move the peer's state folder aside and start it with --bootstrap \
     to copy the state from the other peers, or restore the folder from a backup";

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is at work on a file whose panics become errors: a panic hook need not tell
/// of them.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Runs work on a file of redb, turning its panics into errors.
///
/// redb reports most damage as errors, but some of it (a flipped bit in a page header, say) reaches
/// an internal assertion. A peer must name the file and stop in order instead of dying in a lane.
pub(crate) fn guard<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("an internal check failed");
        Err(damaged(path, what))
    })
}

/// The error of a damaged file, as the state machine sees it.
pub(crate) fn damaged(path: &Path, what: impl std::fmt::Display) -> StoreError {
    StoreError(format!("{} is damaged: {what}. {REMEDY}", path.display()))
}

/// An error of redb, with the file's name.
pub(crate) fn failed<E: Into<redb::Error>>(path: &Path) -> impl FnOnce(E) -> StoreError {
    let path = path.to_path_buf();
    move |e| match e.into() {
        redb::Error::Io(e) if e.kind() != io::ErrorKind::InvalidData => {
            StoreError(format!("{}: {e}", path.display()))
        }
        redb::Error::PreviousIo => StoreError(format!(
            "{}: the disk has failed before, and the file is not used until the peer starts again",
            path.display()
        )),
        e => damaged(&path, e),
    }
}
