//! The house rules as checks on the source text. `tests/tidy.rs` runs them over the repository.
//!
//! `source` reads files and tells code from comments, texts and tests; `words` is the table of what
//! may stand where; `shape` checks lengths and forms; `arrows` checks which crate may know which.

mod arrows;
mod shape;
mod source;
mod words;

use std::fmt;

pub use arrows::manifests;
pub use source::{Source, repository, root};

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// Path from the root of the repository.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// Every breach in one file.
#[must_use]
pub fn check(source: &Source) -> Vec<Breach> {
    let mut found = words::check(source);
    found.extend(shape::check(source));
    found.sort();
    found
}
