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
    unixfs::{Attributes, Mtime},
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
const FLAGS: [&str; 18] = [
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
    "--mode",
    "--mtime",
    "--mtime-nsecs",
    "--preserve-mode",
    "--preserve-mtime",
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
    if ATTRIBUTES
        .iter()
        .any(|flag| args.iter().any(|a| a.starts_with(flag)))
    {
        options.raw_leaves = false;
    }
    options
}

/// Flags by which nodes carry permissions and times, so that raw leaves cannot be.
const ATTRIBUTES: [&str; 4] = ["--mode=", "--mtime=", "--preserve-mode", "--preserve-mtime"];

/// What the vector's flags make an entry carry; `own` is what it has on disk.
fn attributes(args: &[&str], own: &Value, usual_mode: u32) -> Attributes {
    let value = |flag: &str| args.iter().find_map(|a| a.strip_prefix(flag));
    // Of a mode that is given, Kubo takes the permissions alone.
    let mode = value("--mode=").map(|m| u32::from_str_radix(m, 8).unwrap() & 0o777);
    let kept = own["mode"].as_u64().map_or(usual_mode, |m| m as u32);
    let mode = mode.or(args.contains(&"--preserve-mode").then_some(kept));
    let nanos = |n: u64| u32::try_from(n).ok().filter(|n| *n > 0);
    let mtime = value("--mtime=").map(|seconds| Mtime {
        seconds: seconds.parse().unwrap(),
        nanos: value("--mtime-nsecs=").and_then(|n| nanos(n.parse().unwrap())),
    });
    let kept = || match own["mtime"].as_array() {
        Some(time) => Mtime {
            seconds: time[0].as_str().unwrap().parse().unwrap(),
            nanos: nanos(time[1].as_u64().unwrap()),
        },
        None => Mtime {
            seconds: 1_500_000_000,
            nanos: None,
        },
    };
    let mtime = mtime.or_else(|| args.contains(&"--preserve-mtime").then(kept));
    Attributes { mode, mtime }
}

fn import(
    bytes: Bytes,
    options: &ImportOptions,
    attributes: Attributes,
    out: &mut Vec<Block>,
) -> Root {
    let file = FileImport::new(options).unwrap();
    let mut file = file.with_attributes(attributes);
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

/// The entries of a folder, by path, and what the vector says of each.
fn entries(input: &Value) -> Vec<(String, Entry, Value)> {
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
        out.push((path, what, entry.clone()));
    }
    for pattern in input["pattern"].as_array().into_iter().flatten() {
        for n in 0..pattern["count"].as_u64().unwrap() {
            let path = text(pattern, "path").unwrap();
            let path = path.replace("{i:05}", &format!("{n:05}"));
            let what = Entry::File {
                label: path.clone(),
                size: pattern["size"].as_u64().unwrap(),
            };
            out.push((path, what, Value::Null));
        }
    }
    out
}

/// Every line Kubo would print, by name.
fn run(vector: &Value, inputs: &mut Inputs) -> BTreeMap<String, String> {
    let args = vector["args"].as_array().unwrap().iter();
    let args: Vec<_> = args.map(|a| a.as_str().unwrap()).collect();
    let mut options = options(&args);
    if let Some(bytes) = vector["threshold"].as_u64() {
        options.folders.bytes_max = bytes as usize;
    }
    let input = &vector["input"];
    let (mut tree, mut out, mut lines) = (Tree::default(), vec![], BTreeMap::new());
    let none = Attributes::default();
    let name = input["name"].as_str().unwrap_or("file.bin");
    let entries = if input["kind"] == "file" {
        let label = input["label"].as_str().unwrap().to_string();
        let size = input["size"].as_u64().unwrap();
        let file = Entry::File { label, size };
        vec![(name.to_string(), file, input.clone())]
    } else {
        let own = attributes(&args, &Value::Null, 0o755);
        tree.insert_folder(name, own).unwrap();
        let below = |(path, what, own)| (format!("{name}/{path}"), what, own);
        entries(input).into_iter().map(below).collect()
    };
    for (path, what, own) in entries {
        let hidden = path.split('/').any(|p| p.starts_with('.'));
        if hidden && !args.contains(&"--hidden") {
            continue;
        }
        let root = match what {
            Entry::Folder => {
                let own = attributes(&args, &own, 0o755);
                tree.insert_folder(&path, own).unwrap();
                continue;
            }
            Entry::Symlink(target) => {
                let own = attributes(&args, &own, 0o777);
                symlink(target.as_bytes(), &options.naming, own, &mut out)
            }
            Entry::File { label, size } => {
                let own = attributes(&args, &own, 0o644);
                import(inputs.get(&label, size), &options, own, &mut out)
            }
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
    let (mut ran, mut different) = (0, vec![]);
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let ours = run(&vector, &mut inputs);
        let result = &vector["result"];
        let root = cid_of(result);
        if !ours.values().any(|c| c == root) {
            different.push(format!("{}: not {root}", vector["name"]));
        }
        for line in result["lines"].as_array().unwrap() {
            let name = line["name"].as_str().unwrap_or_default();
            let (ours, theirs) = (ours.get(name), cid_of(line));
            if ours.is_none_or(|cid| cid != theirs) {
                let what = &vector["name"];
                different.push(format!("{what} {name:?}: {ours:?}, not {theirs}"));
            }
        }
        assert_eq!(
            ours.len() as u64,
            result["line_count"],
            "{}",
            vector["name"]
        );
        ran += 1;
    }
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
    assert_eq!(ran, 431);
}
