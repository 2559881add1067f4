//! What tests of foreign programs need: skipped, visibly, where it is missing; `.ci/run` installs it and
//! requires it.

use std::path::{Path, PathBuf};

use crate::tidy::root;

/// The interpreter of the foreign programs in Python.
#[must_use]
pub fn python() -> PathBuf {
    root().join("target/peers/py/bin/python")
}

/// Whether what a foreign program needs is there.
///
/// # Panics
/// When it is not and `IPFS_CLUSTER_TESTS_FOREIGN` is `required`.
#[must_use]
pub fn installed(needed: &Path, how: &str) -> bool {
    let required = std::env::var("IPFS_CLUSTER_TESTS_FOREIGN").is_ok_and(|v| v == "required");
    let there = needed.exists();
    assert!(there || !required, "{} is missing: {how}", needed.display());
    if !there {
        eprintln!("skipped: {} is missing: {how}", needed.display());
    }
    there
}
