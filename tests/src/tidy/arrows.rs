//! Which crate may depend on which, read from the manifests; and that no build gets faults planted
//! that did not ask for them.

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

/// The feature behind which faults are planted for the simulator.
const PLANTED: &str = "mutations";

/// Every dependency against the arrows, and every manifest against planted faults.
pub fn manifests() -> io::Result<Vec<Breach>> {
    let mut found = Vec::new();
    for folder in ["", "protocol/", "node/", "ctl/", "simulator/", "tests/"] {
        let path = format!("{folder}Cargo.toml");
        let text = fs::read_to_string(root().join(&path))?;
        found.extend(check_planted(&path, &text));
    }
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

/// Only the feature of that name may name it: no default, no dependency's list of features.
fn check_planted(path: &str, manifest: &str) -> Vec<Breach> {
    let mut section = "";
    let mut found = Vec::new();
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
        }
        let code = line.split('#').next().unwrap_or_default();
        let defined = section == "[features]" && code.starts_with(&format!("{PLANTED} = "));
        if code.contains(PLANTED) && !defined {
            found.push(Breach {
                path: path.to_owned(),
                line: number + 1,
                text: format!(
                    "`{PLANTED}`: planted faults are switched on by `--features` alone, never by a manifest"
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
    fn a_manifest_that_plants_faults_is_found() {
        let own = "[features]\n# mutations\nmutations = [\"x/mutations\"]\n";
        assert_eq!(check_planted("x", own), Vec::new());
        let default = format!("{own}default = [\"mutations\"]\n");
        assert_eq!(check_planted("x", &default)[0].line, 4);
        let asked = "[dependencies]\nx = { workspace = true, features = [\"mutations\"] }\n";
        assert_eq!(check_planted("x", asked)[0].line, 2);
    }

    #[test]
    fn an_arrow_the_wrong_way_is_found_and_a_dev_dependency_is_not() {
        let manifest = "[dependencies]\nserde = \"1\"\ntokio = { workspace = true }\n\n[dev-dependencies]\ntokio = \"1\"\n";
        let found = check("protocol/Cargo.toml", manifest, &["tokio"]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 3);
    }
}
