//! What clients send is parsed by the core: bytes changed at random from what real clients sent, a
//! hundred thousand of them for each parser (`FUZZ_EXECUTIONS` for another number, `FUZZ_SEED` for
//! other ones). None may panic, and what is read and printed is read the same again.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{path::Path, str::FromStr};

use ipfs_cluster_protocol::{
    api::{
        add::AddParams,
        duration,
        error::{parse_cid, parse_peer},
        id::PeerAdd,
        options::PinOptions,
        pin::Pin,
        pinning::{Filter, Wanted, parse_key},
        query::Query,
        status::{GlobalPinInfo, PinTypeFilter, StatusFilter},
        time::Time,
    },
    codec,
    command::Entry,
    hello::Hello,
    limits,
    rpc::{ForwardRequest, RpcRequest},
    time::Timestamp,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

const NOW: Timestamp = Timestamp(1_795_356_365_123);

fn number(variable: &str, default: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(default, |text| text.parse().unwrap())
}

/// What was recorded: queries, path segments, bodies, answers.
fn recorded() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recorded");
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let path = record["path"].as_str().unwrap();
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            seeds.extend(path.split('/').map(|s| s.as_bytes().to_vec()));
            seeds.push(query.as_bytes().to_vec());
            seeds.extend(query.split(['&', '=']).map(|s| s.as_bytes().to_vec()));
            for text in [&record["body"], &record["answer"]["body"]] {
                let text = text.as_str().unwrap_or_default();
                seeds.extend(text.lines().take(2).map(|l| l.as_bytes().to_vec()));
            }
        }
    }
    seeds.retain(|seed| seed.len() < 4096);
    seeds.sort();
    seeds.dedup();
    seeds
}

/// A seed with a few changes.
fn changed(seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds.choose(rng).unwrap().clone();
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 if at < bytes.len() => bytes[at] = rng.random(),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            _ => {
                let other = seeds.choose(rng).unwrap();
                let piece = &other[..other.len().min(32)];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

fn feed(parse: impl Fn(&[u8], &str)) {
    let seeds = recorded();
    assert!(seeds.len() > 500);
    let mut rng = StdRng::seed_from_u64(number("FUZZ_SEED", 1));
    for _ in 0..number("FUZZ_EXECUTIONS", 100_000) {
        let bytes = changed(&seeds, &mut rng);
        parse(&bytes, &String::from_utf8_lossy(&bytes));
    }
}

/// What is printed is read as the same.
fn comes_back<T: FromStr + ToString + PartialEq>(value: &T) {
    let printed = value.to_string();
    let read = printed.parse().ok();
    assert!(read.as_ref() == Some(value), "{printed:?}");
}

#[test]
fn queries() {
    feed(|_, text| {
        let query = Query::parse(text);
        let _ = AddParams::from_query(&query, NOW);
        let _ = Filter::from_query(&query);
        if let Ok(options) = PinOptions::from_query(&query, NOW) {
            let mut printed = Query::default();
            options.to_query(&mut printed);
            let again = PinOptions::from_query(&Query::parse(&printed.to_string()), NOW);
            assert_eq!(again.as_ref(), Ok(&options), "{text:?}");
        }
    });
}

#[test]
fn words() {
    feed(|_, text| {
        if let Ok(cid) = parse_cid(text) {
            comes_back(&cid);
        }
        if let Ok(peer) = parse_peer(text) {
            comes_back(&peer);
        }
        if let Ok(time) = text.parse::<Time>() {
            comes_back(&time);
        }
        let _ = (parse_key(text), duration::parse(text));
        let _ = (StatusFilter::parse(text), PinTypeFilter::parse(text));
    });
}

#[test]
fn json() {
    feed(|bytes, _| {
        let _ = Wanted::parse(bytes);
        let _ = serde_json::from_slice::<PeerAdd>(bytes);
        let _ = serde_json::from_slice::<GlobalPinInfo>(bytes);
        if let Ok(pin) = serde_json::from_slice::<Pin>(bytes) {
            let printed = serde_json::to_vec(&pin).unwrap();
            assert_eq!(serde_json::from_slice::<Pin>(&printed).unwrap(), pin);
        }
    });
}

#[test]
fn frames() {
    feed(|bytes, _| {
        // Garbage, and garbage that has the right format byte.
        for bytes in [bytes.to_vec(), [&[codec::FORMAT], bytes].concat()] {
            let _ = codec::decode::<Entry>(&bytes, limits::ENTRY_BYTES_MAX);
            let _ = codec::decode::<Hello>(&bytes, limits::HELLO_BYTES_MAX);
            let _ = codec::decode::<ForwardRequest>(&bytes, limits::FRAME_BYTES_MAX);
            let _ = codec::decode::<RpcRequest>(&bytes, limits::FRAME_BYTES_MAX);
        }
    });
}
