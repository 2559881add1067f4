//! The replaced timer crate is the only one of its name in the build.

#[test]
fn the_lock_file_holds_one_futures_timer_and_it_is_ours() {
    let lock: toml::Table = include_str!("../../Cargo.lock").parse().unwrap();
    let ours: toml::Table = include_str!("../futures-timer/Cargo.toml").parse().unwrap();
    let found: Vec<&toml::Value> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["name"].as_str() == Some("futures-timer"))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["version"], ours["package"]["version"]);
    // A package of the workspace has no source: the registry's copy would have one.
    assert_eq!(found[0].get("source"), None);
}
