use std::fmt::Write as _;

use super::{Assumptions, answer, read};
use crate::scenario::Scenario;

static ASSUMED: Assumptions = Assumptions {
    pin_bytes: 1 << 20,
    sizes: super::Sizes::new(),
    pins_per_second: 50.0,
    factors: (-1, -1),
};

/// 600 pins with two copies each, on the neighbours of a ring of six peers.
fn export() -> String {
    let peer = |n: u64| {
        let mut bytes = vec![0x12, 0x20];
        bytes.extend([u8::try_from(n % 6 + 1).unwrap(); 32]);
        ipfs_cluster_protocol::id::PeerId::from_bytes(&bytes)
            .unwrap()
            .to_string()
    };
    (0..600).fold(String::new(), |mut text, n| {
        let cid = crate::workload::cid(n).unwrap();
        let (a, b) = (peer(n), peer(n + 1));
        writeln!(
            text,
            "{{\"cid\":\"{cid}\",\"replication_factor_min\":1,\"replication_factor_max\":2,\"allocations\":[\"{a}\",\"{b}\"]}}"
        )
        .unwrap();
        text
    })
}

fn scenario(faults: &str) -> Scenario {
    let text = format!("about='a'\npeers=6\nfor='1h'\nsettle='9s'\n{faults}");
    Scenario::parse("x", &text).unwrap()
}

#[test]
fn a_dead_peer_costs_a_copy_of_what_it_held_and_no_pin() {
    let set = read(export().as_bytes(), &ASSUMED).unwrap();
    assert_eq!((set.pins.len(), set.peers.len()), (600, 6));
    let dies = scenario("[[fault]]\nat='60s'\ndo='crash'\npeer='3'\n");
    let found = answer(&set, &dies, &ASSUMED);
    assert_eq!(found.at_risk, 200);
    assert_eq!((found.unreachable, found.lost), (0, 0));
    assert_eq!(found.bytes_moved, 200 << 20);
    // Missed after 30 s, moved after a grace of 5 min, copied within seconds.
    let healed = found.healed_after.unwrap().as_secs();
    assert!((330..360).contains(&healed), "{healed}");
}

#[test]
fn sizes_that_are_known_count_instead_of_the_assumed_one() {
    let set = read(export().as_bytes(), &ASSUMED).unwrap();
    let dies = scenario("[[fault]]\nat='60s'\ndo='crash'\npeer='3'\n");
    let large = set.pins.iter().map(|pin| (pin.spec.cid, 3 << 20)).collect();
    let known = Assumptions {
        sizes: large,
        ..ASSUMED.clone()
    };
    let found = answer(&set, &dies, &known);
    assert_eq!(found.bytes_moved, 600 << 20);
}

#[test]
fn a_short_cut_moves_nothing() {
    let set = read(export().as_bytes(), &ASSUMED).unwrap();
    let cut = "[[fault]]\nat='60s'\ndo='isolate'\npeer='3'\n[[fault]]\nat='120s'\ndo='heal'\n";
    let found = answer(&set, &scenario(cut), &ASSUMED);
    assert_eq!((found.at_risk, found.bytes_moved, found.lost), (200, 0, 0));
    assert_eq!(found.healed_after.unwrap().as_secs(), 60);
}

#[test]
fn what_lay_on_two_dead_peers_alone_is_lost_and_the_guard_is_told_of() {
    let set = read(export().as_bytes(), &ASSUMED).unwrap();
    let die =
        "[[fault]]\nat='60s'\ndo='crash'\npeer='3'\n[[fault]]\nat='60s'\ndo='crash'\npeer='4'\n";
    let found = answer(&set, &scenario(die), &ASSUMED);
    assert_eq!(found.unreachable, 100);
    assert_eq!(found.lost, 100);
    let three = format!("{die}[[fault]]\nat='60s'\ndo='crash'\npeer='6'\n");
    let found = answer(&set, &scenario(&three), &ASSUMED);
    assert_eq!(found.bytes_moved, 0, "no quorum is left");
    assert_eq!(found.healed_after, None);
}

#[test]
fn an_export_without_peers_is_refused() {
    assert!(read(b"", &ASSUMED).unwrap_err().contains("no pin"));
    let broken = read(b"{\"cid\":\"x\"}", &ASSUMED).unwrap_err();
    assert!(broken.contains("pin 1 of the state file"), "{broken}");
}
