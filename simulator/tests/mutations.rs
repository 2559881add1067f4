//! Each planted fault is found within the seeds that the table states, and only the fault: the same
//! run without it is well.
#![cfg(feature = "mutations")]
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{process::Command, sync::Mutex, thread};

use ipfs_cluster_sim::mutate::{CORE_STEPS, Found, Planted, TABLE};

/// What a run comes to: `ok`, or `VIOLATED` and the property.
fn verdict(arguments: &[String], mutate: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-sim"));
    command.args(arguments);
    command.args(mutate.iter().flat_map(|name| ["--mutate", name]));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_default();
    let end = last.rsplit_once(" · ").map_or("died", |(_, end)| end);
    end.to_owned()
}

/// The command lines that are to find a fault, one of them at least.
fn attempts(planted: &Planted) -> Vec<Vec<String>> {
    let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match planted.found {
        None => Vec::new(),
        Some(Found::Core(_)) => vec![line(&["core", "--steps", &CORE_STEPS.to_string()])],
        // Unoptimized, whole peers take minutes.
        Some(Found::Run(..)) if cfg!(debug_assertions) => Vec::new(),
        Some(Found::Run(_, seeds)) => {
            let run = |seed: u64| {
                let seed = seed.to_string();
                line(&["run", "--scenario", planted.scenario, "--seed", &seed])
            };
            (0..seeds).map(run).collect()
        }
    }
}

/// Says how a fault was not found.
fn complaint(planted: &Planted) -> Option<String> {
    let mut verdicts = Vec::new();
    for arguments in attempts(planted) {
        let found = verdict(&arguments, Some(planted.name));
        if found.starts_with("VIOLATED") {
            let without = verdict(&arguments, None);
            let why = format!("{}: without it {without}", planted.name);
            return (without != "ok").then_some(why);
        }
        verdicts.push(found);
    }
    let why = format!("{}: {}", planted.name, verdicts.join(", "));
    (!verdicts.is_empty()).then_some(why)
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
