//! Bytes changed at random from what real clients sent, for parsers: a hundred thousand for each
//! (`FUZZ_EXECUTIONS` for another number, `FUZZ_SEED` for other ones).

use std::path::Path;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Executions of a parser where the environment does not say.
const EXECUTIONS: u64 = 100_000;
/// Longest piece of a recording.
const SEED_BYTES: usize = 4096;

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| text.parse().expect("it is a number"))
}

/// What was recorded of real clients and servers: queries, parts of paths, headers, bodies, answers.
///
/// # Panics
/// When the recordings are not there.
#[must_use]
pub fn recorded() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recorded");
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the recordings are there") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("a recording can be read");
        for line in text.lines() {
            let record = serde_json::from_str(line).expect("a recording is JSON");
            pieces(&record, &mut seeds);
        }
    }
    seeds.retain(|seed| seed.len() < SEED_BYTES);
    seeds.sort();
    seeds.dedup();
    assert!(seeds.len() > 500, "the recordings are not whole");
    seeds
}

fn pieces(record: &serde_json::Value, seeds: &mut Vec<Vec<u8>>) {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let path = record["path"].as_str().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    seeds.push(bytes(path));
    seeds.extend(path.split('/').map(bytes));
    seeds.push(bytes(query));
    seeds.extend(query.split(['&', '=']).map(bytes));
    for headers in [&record["headers"], &record["answer"]["headers"]] {
        let values = headers.as_object().into_iter().flat_map(|h| h.values());
        seeds.extend(values.filter_map(|v| v.as_str()).map(bytes));
    }
    for text in [&record["body"], &record["answer"]["body"]] {
        let text = text.as_str().unwrap_or_default();
        seeds.extend(text.lines().take(2).map(bytes));
    }
}

/// A seed with a few changes.
fn changed(seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 if at < bytes.len() => bytes[at] = rng.random(),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            _ => {
                let other = seeds.choose(rng).map_or(&[][..], Vec::as_slice);
                let piece = &other[..other.len().min(32)];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

/// Gives a parser changed seeds, as bytes and as text.
///
/// # Panics
/// When the parser does.
pub fn feed(seeds: &[Vec<u8>], mut parse: impl FnMut(&[u8], &str)) {
    let mut rng = StdRng::seed_from_u64(number("FUZZ_SEED", 1));
    for _ in 0..number("FUZZ_EXECUTIONS", EXECUTIONS) {
        let bytes = changed(seeds, &mut rng);
        parse(&bytes, &String::from_utf8_lossy(&bytes));
    }
}
