//! The forms of the log are fixed.

use std::collections::BTreeMap;

use super::{Command, Entry, Envelope, IfRev, Session};
use crate::{
    codec,
    id::{Boot, ClusterId, Epoch, Incarnation, MemberNo, Rev, Seq},
    limits::ENTRY_BYTES_MAX,
    pin::{PinMode, PinType},
    request::{RequestId, RequestKey},
    state::tests::{cid, peer, peers, spec},
    time::Timestamp,
};

/// Every variant, with every optional part once there and once not.
fn all() -> Vec<Command> {
    [on_pins(), on_members(), on_requests()].concat()
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("k".to_owned(), "v".to_owned())])
}

fn on_pins() -> Vec<Command> {
    let mut full = spec(1, 2, 3);
    full.name = "n".into();
    full.mode = PinMode::Direct;
    full.pin_type = PinType::Shard;
    full.user_allocations = peers(&[2]);
    full.expire_at = Some(Timestamp(5));
    full.metadata = labels();
    full.pin_update = Some(cid(2));
    full.origins = vec!["/ip4/1.2.3.4".into()];
    full.shard_size = 6;
    full.reference = Some(cid(3));
    let pin = |spec, allocations, if_rev| Command::Pin {
        spec,
        allocations,
        if_rev,
    };
    let place = |confirmed| Command::Place {
        seq: Seq(3),
        if_rev: Rev(4),
        allocations: peers(&[1]),
        confirmed,
    };
    vec![
        Command::Init {
            cluster: ClusterId([9; 16]),
            epoch: Epoch(1),
        },
        pin(full, peers(&[1]), IfRev::Is(Rev(7))),
        pin(spec(1, -1, -1), Vec::new(), IfRev::Any),
        pin(spec(1, 1, 1), peers(&[1]), IfRev::Absent),
        Command::Unpin { cid: cid(1) },
        place(Vec::new()),
        place(peers(&[1])),
        Command::Expire {
            seq: Seq(3),
            if_rev: Rev(4),
        },
        Command::Gone {
            peer: peer(1),
            as_of: Rev(5),
            seqs: vec![Seq(1), Seq(2)],
        },
    ]
}

fn on_requests() -> Vec<Command> {
    vec![
        Command::Request {
            id: RequestId(1),
            spec: spec(1, 1, 1),
            allocations: peers(&[1]),
            if_rev: IfRev::Absent,
            replaces: Some(RequestKey::Id(RequestId(2))),
        },
        Command::Request {
            id: RequestId(1),
            spec: spec(1, -1, -1),
            allocations: Vec::new(),
            if_rev: IfRev::Any,
            replaces: None,
        },
        Command::Request {
            id: RequestId(1),
            spec: spec(1, -1, -1),
            allocations: Vec::new(),
            if_rev: IfRev::Any,
            replaces: Some(RequestKey::Cid(cid(1))),
        },
        Command::Withdraw { id: RequestId(1) },
        Command::Sized {
            sizes: vec![(Seq(1), Rev(2), 3).into()],
        },
    ]
}

fn on_members() -> Vec<Command> {
    let one = peer(1);
    vec![
        Command::AddMember {
            peer: one.clone(),
            incarnation: Incarnation(8),
            name: "n".into(),
            labels: labels(),
        },
        Command::RemoveMember {
            peer: one.clone(),
            force: true,
        },
        Command::Drain {
            peer: one.clone(),
            on: true,
        },
        Command::Down { peer: one.clone() },
        Command::Up { peer: one.clone() },
        Command::FeatureLevel { level: 1 },
        Command::Describe {
            peer: one,
            name: "n".into(),
            labels: BTreeMap::new(),
        },
        Command::RaiseEpoch { epoch: Epoch(2) },
        Command::Sweep {
            member: MemberNo(3),
        },
    ]
}

/// The log is on disk: these bytes may never change. Runs of one identifier byte are shortened.
#[test]
fn the_bytes_of_every_command_are_fixed() {
    let forms: Vec<_> = all()
        .iter()
        .map(|command| {
            let text = hex::encode(codec::encode(command));
            (1..=9).fold(text, |text, n: u8| {
                text.replace(&hex::encode([n; 32]), &format!("<{n}>"))
            })
        })
        .collect();
    assert_eq!(forms, FORMS);
}

const FORMS: &[&str] = &[
    "01a164696e6974a261635009090909090909090909090909090909616501",
    "01a16370696ea36173ac6163582401551220<1>616e616e616d6664697265637461746973686172642d70696e616682020361758158221220<2>6165056178a1616b61766170582401551220<2>616f816c2f6970342f312e322e332e346173066172582401551220<3>61618158221220<1>6169a162697307",
    "01a16370696ea26173a26163582401551220<1>6166822020616963616e79",
    "01a16370696ea36173a26163582401551220<1>616682010161618158221220<1>6169626e6f",
    "01a165756e70696ea16163582401551220<1>",
    "01a165706c616365a361710361690461618158221220<1>",
    "01a165706c616365a461710361690461618158221220<1>61688158221220<1>",
    "01a166657870697265a2617103616904",
    "01a164676f6e65a3617058221220<1>6172056171820102",
    "01a16a6164645f6d656d626572a4617058221220<1>616908616e616e616ca1616b6176",
    "01a16d72656d6f76655f6d656d626572a2617058221220<1>6166f5",
    "01a165647261696ea2617058221220<1>616ff5",
    "01a164646f776ea1617058221220<1>",
    "01a1627570a1617058221220<1>",
    "01a16d666561747572655f6c6576656ca1616c01",
    "01a1686465736372696265a2617058221220<1>616e616e",
    "01a16b72616973655f65706f6368a1616502",
    "01a1657377656570a1616d03",
    "01a16772657175657374a56164016173a26163582401551220<1>616682010161618158221220<1>6169626e6f6177a1617202",
    "01a16772657175657374a36164016173a26163582401551220<1>6166822020616963616e79",
    "01a16772657175657374a46164016173a26163582401551220<1>6166822020616963616e796177a16163582401551220<1>",
    "01a1687769746864726177a1616401",
    "01a16573697a6564a1617a8183010203",
];

#[test]
fn an_entry_comes_back_as_it_was() {
    let session = |n| Session {
        origin: peer(1),
        boot: Boot(2),
        n,
        floor: 1,
    };
    let commands = all().into_iter().zip(1..);
    let entry = Entry {
        at: Timestamp(77),
        commands: commands
            .map(|(command, n)| Envelope {
                session: session(n),
                command,
            })
            .collect(),
    };
    let bytes = codec::encode(&entry);
    assert_eq!(codec::decode(&bytes, ENTRY_BYTES_MAX), Ok(entry));
}

#[test]
fn a_command_of_a_newer_version_is_refused() {
    for newer in [
        serde_json::json!({"teleport": {"p": 1}}),
        serde_json::json!({"sweep": {"m": 1, "fast": true}}),
        serde_json::json!({"down": {}}),
    ] {
        assert!(codec::decode::<Command>(&codec::encode(&newer), 1000).is_err());
    }
}
