//! What Kubo made of known inputs (`tests/fixtures/unixfs.jsonl`; its README says how the inputs are
//! generated) must be what we make of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Block, Root,
    directory::symlink,
    hash::{HashFunction, verify},
    import::FileImport,
    options::ImportOptions,
    tree::Tree,
};

const VECTORS: &str = include_str!("../../tests/fixtures/unixfs.jsonl");

/// Inputs by label, made once.
#[derive(Default)]
struct Inputs(BTreeMap<(String, u64), Bytes>);

impl Inputs {
    fn get(&mut self, label: &str, size: u64) -> Bytes {
        let make = || {
            let mut out = Vec::with_capacity(size as usize + 32);
            let mut n = 0u64;
            while (out.len() as u64) < size {
                out.extend(Sha256::digest(format!("{label}:{n}")));
                n += 1;
            }
            out.truncate(size as usize);
            out.into()
        };
        let key = (label.to_string(), size);
        self.0.entry(key).or_insert_with(make).clone()
    }
}

/// Kubo's defaults and how its flags imply one another.
fn options(args: &[&str]) -> ImportOptions {
    let value = |flag: &str| {
        args.iter()
            .find_map(|a| a.strip_prefix(flag)?.strip_prefix('='))
    };
    let mut options = ImportOptions::default();
    if let Some(name) = value("--hash") {
        options.naming.hash = HashFunction::by_name(name).unwrap();
        options.naming.version = 1;
    }
    if let Some(version) = value("--cid-version") {
        options.naming.version = version.parse().unwrap();
    }
    options.raw_leaves = match value("--raw-leaves") {
        Some(given) => given == "true",
        None => options.naming.version == 1 || args.contains(&"--raw-leaves"),
    };
    if let Some(chunker) = value("--chunker") {
        options.chunker = chunker.parse().unwrap();
    }
    if let Some(links) = value("--max-file-links") {
        options.file_links_max = links.parse().unwrap();
    }
    if args.contains(&"--inline") {
        let limit = value("--inline-limit").map_or(32, |l| l.parse().unwrap());
        options.naming.inline_max = Some(limit);
    }
    options
}

fn import(bytes: Bytes, options: &ImportOptions, out: &mut Vec<Block>) -> Root {
    let mut file = FileImport::new(options).unwrap();
    // In pieces that fit no chunk, as they come from a socket.
    let mut rest = bytes;
    while !rest.is_empty() {
        file.write(rest.split_to(rest.len().min(1_000_003)), out);
    }
    file.finish(out)
}

fn cid_of(line: &Value) -> &str {
    line["cid"].as_str().unwrap()
}

/// Every line Kubo would print, by name.
fn run(vector: &Value, inputs: &mut Inputs) -> BTreeMap<String, String> {
    let args = vector["args"].as_array().unwrap().iter();
    let args: Vec<_> = args.map(|a| a.as_str().unwrap()).collect();
    let options = options(&args);
    let input = &vector["input"];
    let (mut tree, mut out, mut lines) = (Tree::default(), vec![], BTreeMap::new());
    let name = input["name"].as_str().unwrap_or("file.bin");
    let mut add = |path: String, root: Root, lines: &mut BTreeMap<_, _>| {
        tree.insert(&path, root).unwrap();
        lines.insert(path, root.cid.to_string());
    };
    if input["kind"] == "file" {
        let bytes = inputs.get(
            input["label"].as_str().unwrap(),
            input["size"].as_u64().unwrap(),
        );
        add(
            name.to_string(),
            import(bytes, &options, &mut out),
            &mut lines,
        );
    } else {
        let mut folders = vec![name.to_string()];
        for entry in input["entries"].as_array().unwrap() {
            let path = entry["path"].as_str().unwrap();
            let hidden = path.split('/').any(|p| p.starts_with('.'));
            if hidden && !args.contains(&"--hidden") {
                continue;
            }
            let path = format!("{name}/{path}");
            let root = match entry["kind"].as_str().unwrap() {
                "dir" => {
                    folders.push(path);
                    continue;
                }
                "symlink" => {
                    let target = entry["target"].as_str().unwrap();
                    symlink(target.as_bytes(), &options.naming, &mut out)
                }
                _ => {
                    let label = entry["label"].as_str().unwrap();
                    let bytes = inputs.get(label, entry["size"].as_u64().unwrap());
                    import(bytes, &options, &mut out)
                }
            };
            add(path, root, &mut lines);
        }
        for folder in folders {
            tree.insert_folder(&folder).unwrap();
        }
    }
    let folders = tree.finish(&options.naming, &mut out).unwrap();
    for folder in folders {
        lines.insert(folder.path, folder.root.cid.to_string());
    }
    if !args.contains(&"-w") {
        lines.remove("");
    }
    for block in &out {
        verify(&block.cid, &block.data).unwrap();
    }
    lines
}

#[test]
fn cids_are_kubos() {
    let mut inputs = Inputs::default();
    let mut ran = 0;
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let ours = run(&vector, &mut inputs);
        let result = &vector["result"];
        let root = cid_of(result);
        assert!(
            ours.values().any(|c| c == root),
            "{}: {ours:?}, not {root}",
            vector["name"]
        );
        for line in result["lines"].as_array().unwrap() {
            let name = line["name"].as_str().unwrap_or_default();
            let cid = ours.get(name).map(String::as_str);
            assert_eq!(cid, Some(cid_of(line)), "{} {name:?}", vector["name"]);
        }
        if result["line_count"].as_u64().unwrap() <= 12 {
            assert_eq!(
                ours.len() as u64,
                result["line_count"],
                "{}: {ours:?}",
                vector["name"]
            );
        }
        ran += 1;
    }
    assert_eq!(ran, 126);
}
