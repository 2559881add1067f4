//! A seed is a run: the same trace in every process.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::process::Command;

/// Runs in a process of its own, in an environment of its own; returns the trace's hash.
fn trace_hash(seed: u64, process: u32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-sim"))
        .args(["run", "--scenario", "calm", "--for", "1s", "--seed"])
        .arg(seed.to_string())
        .env("IRRELEVANT", "x".repeat(process as usize * 100))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{text}");
    let fields: Vec<&str> = last.split(" · ").collect();
    assert_eq!(fields.len(), 5, "{last}");
    assert_eq!(fields[0], format!("seed {seed}"));
    assert_eq!(fields[4], "ok");
    fields[3].strip_prefix("trace ").unwrap().to_owned()
}

/// How many processes run the same seed; `SIM_PROCESSES=50` by hand.
fn processes() -> u32 {
    let asked = std::env::var("SIM_PROCESSES").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// What `replay` says of the first event that differs.
fn first_difference(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-sim"))
        .args(["replay", "--scenario", "calm", "--for", "1s", "--seed"])
        .arg(seed.to_string())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_seed_gives_the_same_trace_in_many_processes_and_another_seed_another() {
    let first = trace_hash(1, 0);
    assert_eq!(first.len(), 64);
    for process in 1..processes() {
        let hash = trace_hash(1, process);
        assert_eq!(hash, first, "process {process}: {}", first_difference(1));
    }
    assert_ne!(trace_hash(2, 0), first);
}

#[test]
fn bad_arguments_are_refused_with_their_reason() {
    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-sim"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let run = |scenario, peers| {
        refused(&[
            "run",
            "--scenario",
            scenario,
            "--seed",
            "1",
            "--peers",
            peers,
        ])
    };
    assert!(run("nonsense", "3").contains("no scenario is called"));
    assert!(run("calm", "0").contains("peers must be 1 to 20"));
    assert!(refused(&["explore", "--seeds", "5"]).contains("no range A..B"));
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-sim"))
        .arg("list")
        .stdout(writer)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "");
}
