//! Every scenario that comes with the program holds, from one seed: a process each. All but a few
//! are left to `cargo test --release`: unoptimized they take minutes.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::process::Command;

/// Runs a scenario; shows its whole output when something does not hold.
fn holds(scenario: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-sim"))
        .args(["run", "--seed", "1", "--scenario", scenario])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.trim_end().ends_with("ok"), "{text}");
}

/// Defines a test per scenario.
macro_rules! scenarios {
    ($($test:ident: $name:literal),+ $(,)?) => {
        $(#[test]
        #[cfg_attr(debug_assertions, ignore = "takes long when not optimized")]
        fn $test() {
            holds($name);
        })+

        #[test]
        fn every_pinned_scenario_has_a_test() {
            let named = [$($name),+];
            for name in ipfs_cluster_sim::scenario::names() {
                let drawn = ipfs_cluster_sim::scenario::Scenario::load(name).unwrap();
                let random = drawn.random_fault_every.is_some();
                assert!(random || named.contains(&name), "{name} has no test");
            }
        }
    };
}

scenarios! {
    blackout: "blackout",
    bridge: "bridge",
    broken_disks: "broken-disks",
    burst: "burst",
    calm: "calm",
    clocks: "clocks",
    deposed: "deposed",
    down_leader: "down-leader",
    drain_to_full: "drain-to-full",
    emptied: "emptied",
    flapping: "flapping",
    kubo_trouble: "kubo-trouble",
    leader_clock: "leader-clock",
    lost_machine: "lost-machine",
    lost_quorum: "lost-quorum",
    majority_without_leader: "majority-without-leader",
    membership: "membership",
    old_word: "old-word",
    one_way: "one-way",
    partition_leader: "partition-leader",
    restart_alone: "restart-alone",
    rolling_restart: "rolling-restart",
    short_log: "short-log",
    slow_blackout: "slow-blackout",
    slow_disk: "slow-disk",
    two_clusters: "two-clusters",
    unheard: "unheard",
    wiped: "wiped",
    zone_cut: "zone-cut",
    zone_loss: "zone-loss",
}
