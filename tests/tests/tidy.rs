//! The house rules over the whole repository, and the proof that each rule finds its breach.

use ipfs_cluster_tests::tidy::{self, Breach, Source};

#[test]
fn the_repository_keeps_the_house_rules() {
    let mut found: Vec<Breach> = tidy::manifests().unwrap();
    for source in tidy::repository().unwrap() {
        found.extend(tidy::check(&source));
    }
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} breaches:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// What the rules say of a file with module documentation and this text.
fn breaches(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(path, &format!("//! Doc.\n{text}"));
    tidy::check(&source)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Path, text, and a piece of the expected message; an empty piece expects no breach.
const CASES: &[(&str, &str, &str)] = &[
    (
        "node/src/api/x.rs",
        "use libp2p::Swarm;",
        "x.rs:2: `libp2p::`",
    ),
    ("node/src/net/x.rs", "use libp2p::Swarm;", ""),
    ("ctl/src/cmd/x.rs", "use crate::client::libp2p::dial;", ""),
    (
        "node/src/api/x.rs",
        "// libp2p::Swarm in a comment\nlet s = \"libp2p::\";",
        "",
    ),
    (
        "node/src/cluster/x.rs",
        "fn f(n: openraft::Raft) {}",
        "`openraft::`",
    ),
    ("node/src/cluster/x.rs", "use warp::Filter;", "`warp::`"),
    ("node/src/cluster/x.rs", "use redb::Database;", "`redb::`"),
    (
        "protocol/src/x.rs",
        "let t = Instant::now();",
        "`Instant::now`",
    ),
    ("protocol/src/x.rs", "use rand::Rng;", "`rand::`"),
    ("node/src/x.rs", "std::fs::read(p)", "`std::fs`"),
    ("node/src/env/real.rs", "std::fs::read(p)", ""),
    (
        "node/src/x.rs",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
        "",
    ),
    (
        "node/src/x.rs",
        "tokio::task::spawn_blocking(f)",
        "spawn_blocking",
    ),
    (
        "node/src/x.rs",
        "let (t, r) = mpsc::unbounded_channel();",
        "unbounded",
    ),
    (
        "node/src/x.rs",
        concat!("unsa", "fe { f() }"),
        "interpose.rs alone",
    ),
    ("node/src/x.rs", concat!("// FIX", "ME later"), "do it now"),
    (
        "tests/tests/x.rs",
        concat!("#[ig", "nore]\nfn f() {}"),
        "a test runs",
    ),
    ("node/src/x.rs", concat!("to", "do!()"), "write the code"),
    (
        "node/src/x.rs",
        "const QUEUE_MAX: usize = 7;",
        "`QUEUE_MAX`: bounds belong",
    ),
    ("protocol/src/limits.rs", "const QUEUE_MAX: usize = 7;", ""),
    (
        "node/src/x.rs",
        "tokio::select! {\n    biased;\n    a = b => {}\n}",
        "",
    ),
    (
        "node/src/x.rs",
        "tokio::select! {\n    a = b => {}\n}",
        "`select!` without",
    ),
    (
        "node/src/x.rs",
        "#[allow(dead_code)]\nfn f() {}",
        "without `reason",
    ),
    (
        "node/src/x.rs",
        "#[allow(\n    dead_code,\n    reason = \"why\"\n)]\nfn f() {}",
        "",
    ),
];

#[test]
fn each_rule_finds_its_breach_and_nothing_else() {
    for (path, text, expected) in CASES {
        let found = breaches(path, text);
        if expected.is_empty() {
            assert_eq!(found, Vec::<String>::new(), "{path}: {text}");
        } else {
            assert!(
                found.iter().any(|b| b.contains(expected)),
                "{path}: {text}: {found:?}"
            );
        }
    }
}

#[test]
fn long_functions_and_files_are_found() {
    let body = "    call();\n".repeat(71);
    let found = breaches(
        "node/src/x.rs",
        &format!("pub fn long(a: u8) -> u8 {{\n{body}}}\n"),
    );
    assert!(found[0].contains("`long` has 71 lines"), "{found:?}");
    let body = "    call();\n".repeat(70);
    assert!(breaches("node/src/x.rs", &format!("fn f() {{\n{body}}}\n")).is_empty());
    let found = breaches("node/src/x.rs", &"// line\n".repeat(600));
    assert!(found[0].contains("601 lines"), "{found:?}");
}

#[test]
fn a_file_without_documentation_is_found() {
    let source = Source::new("node/src/x.rs", "fn f() {}\n");
    assert_eq!(tidy::check(&source).len(), 1);
}
