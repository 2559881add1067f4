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
    options::{ImportOptions, Layout},
    tree::Tree,
    unixfs::Attributes,
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

/// Flags of the vectors. `--dereference-args` changes nothing: no argument was a symlink.
const FLAGS: [&str; 13] = [
    "--chunker",
    "--cid-version",
    "--dereference-args",
    "--hash",
    "--hidden",
    "--inline",
    "--inline-limit",
    "--max-directory-links",
    "--max-file-links",
    "--max-hamt-fanout",
    "--raw-leaves",
    "--trickle",
    "-w",
];

/// Kubo's defaults and how its flags imply one another.
fn options(args: &[&str]) -> ImportOptions {
    for arg in args {
        let flag = arg.split('=').next().unwrap();
        assert!(FLAGS.contains(&flag), "unknown flag {arg}");
    }
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
    if let Some(links) = value("--max-directory-links") {
        options.folders.links_max = Some(links.parse().unwrap());
    }
    if let Some(fanout) = value("--max-hamt-fanout") {
        options.folders.fanout = fanout.parse().unwrap();
    }
    if args.contains(&"--trickle") {
        options.layout = Layout::Trickle;
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

/// An entry of the input: where it is and what.
enum Entry {
    File { label: String, size: u64 },
    Folder,
    Symlink(String),
}

/// The entries of a folder, by path.
fn entries(input: &Value) -> Vec<(String, Entry)> {
    let text = |v: &Value, key: &str| v[key].as_str().map(str::to_string);
    let mut out = vec![];
    for entry in input["entries"].as_array().into_iter().flatten() {
        let path = text(entry, "path").unwrap();
        let what = match entry["kind"].as_str().unwrap() {
            "dir" => Entry::Folder,
            "symlink" => Entry::Symlink(text(entry, "target").unwrap()),
            "file" => Entry::File {
                label: text(entry, "label").unwrap_or_else(|| path.clone()),
                size: entry["size"].as_u64().unwrap(),
            },
            other => panic!("unknown kind {other}"),
        };
        out.push((path, what));
    }
    for pattern in input["pattern"].as_array().into_iter().flatten() {
        for n in 0..pattern["count"].as_u64().unwrap() {
            let path = text(pattern, "path").unwrap();
            let path = path.replace("{i:05}", &format!("{n:05}"));
            let what = Entry::File {
                label: path.clone(),
                size: pattern["size"].as_u64().unwrap(),
            };
            out.push((path, what));
        }
    }
    out
}

/// Every line Kubo would print, by name.
fn run(vector: &Value, inputs: &mut Inputs) -> BTreeMap<String, String> {
    let args = vector["args"].as_array().unwrap().iter();
    let args: Vec<_> = args.map(|a| a.as_str().unwrap()).collect();
    let options = options(&args);
    let input = &vector["input"];
    let (mut tree, mut out, mut lines) = (Tree::default(), vec![], BTreeMap::new());
    let none = Attributes::default();
    let name = input["name"].as_str().unwrap_or("file.bin");
    let entries = if input["kind"] == "file" {
        let label = input["label"].as_str().unwrap().to_string();
        let size = input["size"].as_u64().unwrap();
        vec![(name.to_string(), Entry::File { label, size })]
    } else {
        tree.insert_folder(name, none).unwrap();
        let below = |(path, what)| (format!("{name}/{path}"), what);
        entries(input).into_iter().map(below).collect()
    };
    for (path, what) in entries {
        let hidden = path.split('/').any(|p| p.starts_with('.'));
        if hidden && !args.contains(&"--hidden") {
            continue;
        }
        let root = match what {
            Entry::Folder => {
                tree.insert_folder(&path, none).unwrap();
                continue;
            }
            Entry::Symlink(target) => symlink(target.as_bytes(), &options.naming, none, &mut out),
            Entry::File { label, size } => import(inputs.get(&label, size), &options, &mut out),
        };
        tree.insert(&path, root).unwrap();
        lines.insert(path, root.cid.to_string());
    }
    if args.contains(&"-w") {
        tree.wrap(none);
    }
    let folders = tree.finish(&options, &mut out).unwrap();
    for folder in folders {
        lines.insert(folder.path, folder.root.cid.to_string());
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
            "{}: not {root}",
            vector["name"]
        );
        for line in result["lines"].as_array().unwrap() {
            let name = line["name"].as_str().unwrap_or_default();
            let cid = ours.get(name).map(String::as_str);
            assert_eq!(cid, Some(cid_of(line)), "{} {name:?}", vector["name"]);
        }
        assert_eq!(
            ours.len() as u64,
            result["line_count"],
            "{}",
            vector["name"]
        );
        ran += 1;
    }
    assert_eq!(ran, 199);
}
