//! What clients and peers send is parsed by the core: a hundred thousand changed recordings for each
//! parser (see `ipfs_cluster_tests::fuzz`). None may panic, and what is read and printed is read the
//! same again. Those of the servers stand beside their parsers, in unit tests named `changed_…`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::str::FromStr;

use ipfs_cluster_ctl::client::Target;
use ipfs_cluster_node::{
    config::{self, Variables, listen},
    net::peerstore,
};
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
    export,
    gossip::{MetricsMessage, StatusMessage},
    hello::Hello,
    limits,
    rpc::{ForwardRequest, RpcRequest},
    time::Timestamp,
};
use ipfs_cluster_tests::{Peer, fuzz};

const NOW: Timestamp = Timestamp(1_795_356_365_123);

fn feed(parse: impl FnMut(&[u8], &str)) {
    fuzz::feed(&fuzz::recorded(), parse);
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

#[test]
fn gossip() {
    let author = parse_peer("12D3KooWSoMm1BEwmKuCFnNbBSv2HkLtLAsFTHz2GHpmMvYEFdAM").unwrap();
    feed(|bytes, _| {
        for bytes in [bytes.to_vec(), [&[codec::FORMAT], bytes].concat()] {
            let _ = MetricsMessage::decode(&author, &bytes);
            let _ = StatusMessage::decode(&author, &bytes);
        }
    });
}

#[test]
fn addresses() {
    let mut seeds = fuzz::recorded();
    for address in [
        "/ip4/127.0.0.1/tcp/9094",
        "/dns4/a.example/tcp/443",
        "/ip6/::1/tcp/1/p2p/12D3KooWSoMm1BEwmKuCFnNbBSv2HkLtLAsFTHz2GHpmMvYEFdAM",
        "/unix/tmp/x.sock",
        "/dnsaddr/bootstrap.libp2p.io",
    ] {
        seeds.extend(vec![address.as_bytes().to_vec(); 200]);
    }
    fuzz::feed(&seeds, |_, text| {
        let _ = (Target::parse(text), Target::parse_list(text));
        let _ = peerstore::parse(text);
        if let Ok(address) = listen::parse(text) {
            let printed = listen::multiaddr(&address);
            assert_eq!(listen::parse(&printed), Ok(address), "{text:?}");
        }
    });
}

#[test]
fn state_files() {
    let mut seeds = fuzz::recorded();
    // Several pins, as an export has them.
    let is_pin = |seed: &&Vec<u8>| export::read(seed).any(|pin| pin.is_ok());
    let pins: Vec<_> = seeds.iter().filter(is_pin).cloned().collect();
    assert!(pins.len() > 50, "{}", pins.len());
    seeds.extend(pins.windows(3).map(|three| three.join(&b'\n')));
    seeds.extend(pins);
    fuzz::feed(&seeds, |bytes, _| {
        let mut read = export::read(bytes).skip_while(Result::is_ok);
        // The first error is the last item.
        assert!(read.nth(1).is_none());
    });
}

#[test]
fn configurations() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::init("fuzzed", folder.path(), vec![]);
    let text = std::fs::read(peer.folder.join("service.json")).unwrap();
    let env = ipfs_cluster_node::env::real::env();
    let mut seeds = fuzz::recorded();
    seeds.truncate(200);
    seeds.extend(text.split(|b| *b == b'\n').map(<[u8]>::to_vec));
    seeds.extend(vec![text; 100]);
    fuzz::feed(&seeds, |bytes, _| {
        let from = ("https://example.org/service.json", bytes);
        let _ = config::load_fetched(&peer.folder, &*env.disk, &Variables::new(), from);
    });
}
