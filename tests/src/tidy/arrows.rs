//! Which crate may depend on which, read from the manifests.

use std::{fs, io};

use super::{Breach, source::root};

/// Crates whose manifest must not name some dependencies, outside `[dev-dependencies]`.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "protocol",
        &[
            "ipfs-cluster-node",
            "ipfs-cluster-ctl",
            "ipfs-cluster-sim",
            "tokio",
            "libp2p",
            "tracing",
            "rand",
            "futures",
            "hyper",
        ],
    ),
    (
        "node",
        &["ipfs-cluster-ctl", "ipfs-cluster-sim", "ipfs-cluster-tests"],
    ),
    (
        "ctl",
        &[
            "ipfs-cluster-node",
            "ipfs-cluster-sim",
            "ipfs-cluster-tests",
            "openraft",
            "redb",
            "warp",
        ],
    ),
    ("simulator", &["ipfs-cluster-tests"]),
];

/// Every dependency against the arrows.
pub fn manifests() -> io::Result<Vec<Breach>> {
    let mut found = Vec::new();
    for (folder, forbidden) in FORBIDDEN {
        let path = format!("{folder}/Cargo.toml");
        let text = fs::read_to_string(root().join(&path))?;
        found.extend(check(&path, &text, forbidden));
    }
    Ok(found)
}

fn check(path: &str, manifest: &str, forbidden: &[&str]) -> Vec<Breach> {
    let mut section = "";
    let mut found = Vec::new();
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        let shipped = section.contains("dependencies") && !section.contains("dev-");
        if shipped && forbidden.contains(&name) {
            found.push(Breach {
                path: path.to_owned(),
                line: number + 1,
                text: format!(
                    "`{name}`: arrows go one way, protocol ← node ← simulator, protocol ← ctl"
                ),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_the_wrong_way_is_found_and_a_dev_dependency_is_not() {
        let manifest = "[dependencies]\nserde = \"1\"\ntokio = { workspace = true }\n\n[dev-dependencies]\ntokio = \"1\"\n";
        let found = check("protocol/Cargo.toml", manifest, &["tokio"]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 3);
    }
}
