//! Where the programs under test are, built once per run.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::tidy::root;

/// `ipfs-cluster-service`.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn service() -> PathBuf {
    folder().join("ipfs-cluster-service")
}

/// `ipfs-cluster-ctl`.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn ctl() -> PathBuf {
    folder().join("ipfs-cluster-ctl")
}

/// Runs `ipfs-cluster-ctl` against an address: exit code, stdout, stderr.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run_ctl(host: &str, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(ctl())
        .env_clear()
        .args(["--host", host])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    (code, text(&output.stdout), text(&output.stderr))
}

/// An example of the client.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    folder().join("examples").join(name)
}

/// The folder of the test's own profile, with the programs in it up to date.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = profile_folder();
        build(&folder);
        folder
    })
}

/// `target/debug` or `target/release`: the test itself is in `deps` below it.
fn profile_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its path");
    let deps = own.parent().expect("a test is in a folder");
    deps.parent()
        .expect("deps is in the profile's folder")
        .to_owned()
}

/// Cargo knows what is out of date. Set `CLUSTER_TESTS_BUILT` when everything is built already.
fn build(folder: &Path) {
    if std::env::var_os("CLUSTER_TESTS_BUILT").is_some() {
        return;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .args(["build", "--quiet", "--bins", "--examples"]);
    // All default members at once: a part of them would be built again with other features.
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo says of this package to its tests makes build scripts of others run again.
    let own = |name: &str| {
        ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| own(name)) {
        cargo.env_remove(name);
    }
    let status = cargo.status().expect("cargo can be run");
    assert!(status.success(), "the programs under test do not build");
}
