//! Each planted fault is found, by a seed that is known to find it, and by the property that should.
#![cfg(feature = "mutations")]
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{process::Command, sync::Mutex, thread};

use ipfs_cluster_sim::mutate::{CORE_STEPS, Found, Planted, TABLE};

/// Says how a fault was not found as the table says.
fn complaint(planted: &Planted) -> Option<String> {
    let (by, arguments) = match planted.found? {
        Found::Explore(by, seed) => (
            by,
            vec!["run".to_owned(), "--seed".to_owned(), seed.to_string()],
        ),
        Found::Core(by) => {
            let steps = CORE_STEPS.to_string();
            (by, vec!["core".to_owned(), "--steps".to_owned(), steps])
        }
    };
    // Unoptimized, whole peers take minutes.
    if cfg!(debug_assertions) && matches!(planted.found, Some(Found::Explore(..))) {
        return None;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-sim"))
        .args(arguments)
        .args(["--mutate", planted.name])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_default().to_owned();
    let found = last.ends_with(&format!("VIOLATED {by}"));
    (!found).then(|| format!("{}: {last}", planted.name))
}

#[test]
fn every_planted_fault_is_found() {
    let rest = Mutex::new(TABLE.iter());
    let complaints = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = rest.lock().unwrap().next();
                    let Some(planted) = next else { return };
                    complaints.lock().unwrap().extend(complaint(planted));
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
