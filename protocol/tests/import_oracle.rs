//! Random files, trees and options, imported by us and by another implementation: the root CIDs must
//! be the same. The oracle is `ipfs-unixfs-importer` (`tests/peers/unixfs-importer`); digests are
//! compared with `@noble/hashes`. Plain files are compared with js-ipfs and Kubo's core too
//! (`tests/tests/foreign_ipfs`).
//!
//! What no oracle covers, because it does it otherwise than Kubo or not at all, is held to Kubo's own
//! vectors in `src/content/vectors.rs`: rabin (the importer's has another polynomial),
//! buzhash, inlining, other hashes than sha2-256 within a DAG, a bound of the links of a folder, folders
//! that are sharded within a tree, permissions and times of trickle files and of files of several
//! leaves. In the last two the importer gives other CIDs than Kubo.
//! Permissions of symlinks are not compared: Kubo keeps none, as the UnixFS specification has it.
//!
//! Skipped where Node.js or the importer is missing, unless `IPFS_CLUSTER_TESTS_FOREIGN` is `required`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test feeds a process from a thread"
)]

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use ipfs_cluster_protocol::content::{
    directory::symlink,
    hash::HashFunction,
    import::FileImport,
    options::{ChunkerSpec, ImportOptions, Layout},
    tree::Tree,
    unixfs::{Attributes, Mtime},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const FILES: usize = 220;
const TREES: usize = 280;
const DIGESTS: usize = 120;
const SEED: u64 = 20_261_127;

/// What the importer answers to each case; None where it is not installed and need not be.
fn ask(cases: &[Value]) -> Option<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/unixfs-importer");
    let required = std::env::var("IPFS_CLUSTER_TESTS_FOREIGN").is_ok_and(|v| v == "required");
    if !folder.join("node_modules").exists() && !required {
        eprintln!("skipped: run `npm ci` in {}", folder.display());
        return None;
    }
    let mut child = Command::new("node")
        .arg(folder.join("import.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    // The answers are few bytes each, but both pipes are small.
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(input, "{line}").unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(answers.len(), cases.len(), "an answer to each case");
    Some(answers)
}

/// The bytes that a label stands for.
fn content(label: &str, size: usize) -> Bytes {
    let blocks = (0..size.div_ceil(32)).flat_map(|n| Sha256::digest(format!("{label}:{n}")));
    blocks.take(size).collect::<Vec<u8>>().into()
}

/// What a case makes of the options.
fn options(case: &Value) -> ImportOptions {
    let number = |key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
    let mut options = ImportOptions::default();
    options.naming.version = case["cid_version"].as_u64().unwrap();
    // The importer makes an envelope of a raw leaf that is to carry attributes; Kubo, and we, make
    // no raw leaves then.
    options.raw_leaves = case["raw_leaves"] == true && case["attributes"] != true;
    let size = case["chunker"]["size"].as_u64().unwrap();
    options.chunker = ChunkerSpec::Size(usize::try_from(size).unwrap());
    if case["layout"] == "trickle" {
        options.layout = Layout::Trickle;
    }
    options.file_links_max = number("links");
    options.folders.bytes_max = number("directory_bytes");
    options.folders.fanout = 1 << number("fanout_bits");
    options
}

fn attributes(entry: &Value) -> Attributes {
    let mode = entry["mode"].as_u64().map(|m| u32::try_from(m).unwrap());
    let mtime = entry["mtime"].as_array().map(|t| Mtime {
        seconds: t[0].as_str().unwrap().parse().unwrap(),
        nanos: t[1].as_u64().map(|n| u32::try_from(n).unwrap()),
    });
    Attributes { mode, mtime }
}

/// Our root CID.
fn import(case: &Value) -> String {
    let options = options(case);
    let (mut tree, mut out) = (Tree::default(), vec![]);
    let mut alone = None;
    for entry in case["entries"].as_array().unwrap() {
        let path = entry["path"].as_str().unwrap();
        let attributes = attributes(entry);
        let root = match entry["kind"].as_str().unwrap() {
            "dir" => {
                tree.insert_folder(path, attributes).unwrap();
                continue;
            }
            "symlink" => {
                let target = entry["target"].as_str().unwrap().as_bytes();
                symlink(target, &options.naming, attributes, &mut out)
            }
            _ => {
                let size = usize::try_from(entry["size"].as_u64().unwrap()).unwrap();
                let mut file = FileImport::new(&options)
                    .unwrap()
                    .with_attributes(attributes);
                file.write(content(entry["label"].as_str().unwrap(), size), &mut out);
                file.finish(&mut out)
            }
        };
        tree.insert(path, root).unwrap();
        alone = Some(root);
    }
    if case["wrap"] == true {
        tree.wrap(Attributes::default());
    }
    let folders = tree.finish(&options, &mut out).unwrap();
    let root = folders.last().map(|f| f.root).or(alone);
    root.unwrap().cid.to_string()
}

/// Options that fit files of up to so many bytes, so that trees have several levels.
fn random_options(rng: &mut StdRng, bytes: u64) -> Value {
    let least = (bytes / 3000).max(1);
    let version = rng.random_range(0..2);
    json!({
        "cid_version": version,
        "raw_leaves": rng.random_bool(0.5),
        "chunker": { "size": rng.random_range(least..=(bytes + 2).max(least + 1)) },
        "layout": if rng.random_bool(0.5) { "trickle" } else { "balanced" },
        "links": *[2, 3, 5, 11, 174, 1024].choose(rng).unwrap(),
        "directory_bytes": 256 * 1024,
        "fanout_bits": rng.random_range(3..=10),
        "wrap": false,
    })
}

fn random_attributes(rng: &mut StdRng, entry: &mut Value) {
    // The importer leaves 0644 of files and 0755 of folders out; Kubo does not.
    if entry["kind"] != "symlink" && rng.random_bool(0.7) {
        entry["mode"] = json!(*[0o600, 0o640, 0o700, 0o4711, 0o1777].choose(rng).unwrap());
    }
    // Beyond 31 bits the importer encodes seconds otherwise than protobuf's int64: Kubo's vectors
    // stand for those.
    let seconds: i64 = rng.random_range(0..i64::from(i32::MAX));
    let nanos = rng
        .random_bool(0.5)
        .then(|| rng.random_range(1..1_000_000_000u32));
    entry["mtime"] = json!([seconds.to_string(), nanos]);
}

fn random_file(rng: &mut StdRng, n: usize) -> Value {
    let edge = 1u64 << rng.random_range(0..19);
    let size = match rng.random_range(0..4) {
        0 => edge + rng.random_range(0..3) - 1,
        1 => rng.random_range(0..200),
        _ => rng.random_range(0..400_000),
    };
    let mut case = random_options(rng, size);
    let mut entry =
        json!({ "path": "file.bin", "kind": "file", "label": format!("f{n}"), "size": size });
    // Of a file of several leaves, or in trickle layout, the importer keeps them elsewhere.
    let one_leaf = case["chunker"]["size"].as_u64().unwrap() >= size;
    if size > 0 && one_leaf && case["layout"] == "balanced" && rng.random_bool(0.5) {
        random_attributes(rng, &mut entry);
        case["attributes"] = json!(true);
        case["raw_leaves"] = json!(true);
    }
    case["entries"] = json!([entry]);
    case
}

fn random_name(rng: &mut StdRng) -> String {
    let letters: Vec<char> = "abcXYZ019 .-_äß日本🦀%+'\"\\".chars().collect();
    let len = rng.random_range(1..24);
    let name: String = (0..len).map(|_| *letters.choose(rng).unwrap()).collect();
    // `.` and `..` are no names, and the importer trims nothing but empty ones.
    format!("{name}{}", rng.random_range(0..100_000))
}

/// A tree: folders within folders, most of them small, some of many entries.
fn random_tree(rng: &mut StdRng, n: usize) -> Value {
    let with_attributes = rng.random_bool(0.25);
    let mut case = random_options(rng, 3000);
    if with_attributes {
        // So that each file is one leaf: see `options`.
        case["chunker"] = json!({ "size": 4096 });
        case["layout"] = json!("balanced");
        case["raw_leaves"] = json!(true);
        case["attributes"] = json!(true);
    }
    let mut folders = vec!["root".to_string()];
    let mut entries = vec![json!({ "path": "root", "kind": "dir" })];
    for _ in 0..rng.random_range(0..6) {
        let folder = format!("{}/{}", folders.choose(rng).unwrap(), random_name(rng));
        entries.push(json!({ "path": folder, "kind": "dir" }));
        folders.push(folder);
    }
    let most = *[3, 10, 40, 300].choose(rng).unwrap();
    for file in 0..rng.random_range(1..=most) {
        let path = format!("{}/{}", folders.choose(rng).unwrap(), random_name(rng));
        entries.push(if rng.random_bool(0.1) {
            json!({ "path": path, "kind": "symlink", "target": random_name(rng) })
        } else {
            let size = rng.random_range(u64::from(with_attributes)..3000) >> rng.random_range(0..9);
            let size = size.max(u64::from(with_attributes));
            json!({ "path": path, "kind": "file", "label": format!("t{n}-{file}"), "size": size })
        });
    }
    if with_attributes {
        for entry in &mut entries {
            random_attributes(rng, entry);
        }
    }
    case["wrap"] = json!(rng.random_bool(0.3));
    if rng.random_bool(0.7) {
        case["directory_bytes"] = json!(threshold(rng, &entries));
    }
    case["entries"] = json!(entries);
    case
}

/// Bytes from which on folders are sharded. The importer does not count folders within a folder until
/// they are complete, Kubo does: no folder may lie between.
fn threshold(rng: &mut StdRng, entries: &[Value]) -> usize {
    let (mut all, mut counted) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        let path = entry["path"].as_str().unwrap();
        let Some((folder, name)) = path.rsplit_once('/') else {
            continue;
        };
        // CIDs of version 0 have 34 bytes, those of version 1 have 36. The importer counts a name's
        // UTF-16 units, Kubo its bytes.
        *all.entry(folder).or_insert(0) += name.len() + 36;
        if entry["kind"] != "dir" {
            *counted.entry(folder).or_insert(0) += name.encode_utf16().count() + 34;
        }
    }
    let mut threshold = rng.random_range(50..2000);
    let between = |threshold: usize| {
        all.iter().any(|(folder, most)| {
            let least = counted.get(folder).copied().unwrap_or(0);
            least <= threshold && threshold < *most
        })
    };
    // A folder that is sharded within a tree gets other CIDs from the importer than from us.
    let nested = |threshold: usize| {
        all.iter()
            .any(|(folder, most)| folder.contains('/') && *most > threshold)
    };
    while between(threshold) || nested(threshold) {
        threshold += 1;
    }
    threshold
}

#[test]
fn root_cids_are_those_of_another_implementation() {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut cases: Vec<Value> = (0..FILES).map(|n| random_file(&mut rng, n)).collect();
    cases.extend((0..TREES).map(|n| random_tree(&mut rng, n)));
    assert!(cases.len() >= 500 && TREES * 3 >= cases.len());
    let Some(answers) = ask(&cases) else { return };
    let mut different = vec![];
    for (case, answer) in cases.iter().zip(&answers) {
        let ours = import(case);
        if answer["cid"] != ours {
            different.push(format!("{case}\n  ours {ours}, theirs {answer}"));
        }
    }
    different.sort_by_key(String::len);
    assert!(
        different.is_empty(),
        "{} of {} differ, the shortest:\n{}",
        different.len(),
        cases.len(),
        different[0]
    );
}

#[test]
fn digests_are_those_of_another_implementation() {
    let mut rng = StdRng::seed_from_u64(SEED);
    let fixed = [
        "sha1",
        "sha2-256",
        "sha2-512",
        "sha3-224",
        "sha3-256",
        "sha3-384",
        "sha3-512",
        "shake-256",
        "keccak-256",
        "keccak-512",
        "dbl-sha2-256",
        "blake2s-256",
        "blake3",
    ];
    let blake2b = (20..=64).map(|bytes| format!("blake2b-{}", bytes * 8));
    let names: Vec<String> = fixed.map(String::from).into_iter().chain(blake2b).collect();
    let mut cases = vec![];
    for n in 0..DIGESTS {
        let size: usize = rng.random_range(0..5000) >> rng.random_range(0..12);
        cases.push(
            json!({ "digest": names[n % names.len()], "label": format!("d{n}"), "size": size }),
        );
    }
    assert!(cases.len() >= names.len());
    let Some(answers) = ask(&cases) else { return };
    for (case, answer) in cases.iter().zip(&answers) {
        let function = HashFunction::by_name(case["digest"].as_str().unwrap()).unwrap();
        let size = usize::try_from(case["size"].as_u64().unwrap()).unwrap();
        let data = content(case["label"].as_str().unwrap(), size);
        let digest = function.digest(&data);
        let hex: String = digest.digest().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(answer["digest"], hex, "{case}: {answer}");
    }
}
