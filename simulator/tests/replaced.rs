//! The crates that stand in the place of others are the only ones of their names in the build.
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

/// The lock file holds one package of this name, that of the manifest.
fn is_ours(name: &str, manifest: &str) {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().unwrap();
    let ours: toml::Table = manifest.parse().unwrap();
    let found: Vec<&toml::Value> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["name"].as_str() == Some(name))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["version"], ours["package"]["version"]);
    // A package of the workspace has no source: the registry's copy would have one.
    assert_eq!(found[0].get("source"), None);
}

#[test]
fn there_is_one_futures_timer_and_it_is_ours() {
    is_ours("futures-timer", include_str!("../futures-timer/Cargo.toml"));
}

#[test]
fn there_is_one_base2histogram_and_it_is_ours() {
    let manifest = include_str!("../../node/base2histogram/Cargo.toml");
    is_ours("base2histogram", manifest);
}
