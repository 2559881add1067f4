//! Every filter finds through bitmaps what looking at every pin finds.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    command::{Command, Entry, Envelope, IfRev, Session},
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, LogIndex, Rev},
    pin::{PinSpec, Replication},
    state::{Model, apply},
    status::{OwnTable, TableId},
    time::Timestamp,
};
use proptest::prelude::*;

use super::*;
use crate::{cluster::shown::Shown, testing::peer};

const PEERS: u8 = 3;
const PINS: u8 = 24;

fn spec(n: u8, replication: Replication) -> PinSpec {
    let bytes = [&[0x01, 0x55, 0x12, 0x20], [n; 32].as_slice()].concat();
    PinSpec::new(Cid::from_bytes(&bytes).unwrap(), replication)
}

/// A cluster as one of its peers knows it.
#[derive(Debug, Clone)]
struct World {
    /// Who holds each pin; nobody by name stands for everybody.
    pins: Vec<Vec<u8>>,
    /// The phase of each pin at each peer, if its table has it.
    phases: Vec<Vec<Option<PinPhase>>>,
    /// By how many commands each table is behind.
    behind: Vec<u64>,
    /// Whose metrics have lapsed.
    lapsed: Vec<bool>,
}

fn world() -> impl Strategy<Value = World> {
    let phase = prop::sample::select(
        FEW.into_iter()
            .chain([PinPhase::Pinned])
            .collect::<Vec<_>>(),
    );
    let holders = prop::sample::subsequence((1..=PEERS).collect::<Vec<_>>(), 0..=2);
    let phases = prop::collection::vec(
        prop::collection::vec(prop::option::weighted(0.8, phase), usize::from(PINS)),
        usize::from(PEERS),
    );
    let behind = prop::collection::vec(prop_oneof![4 => Just(0u64), 1 => 1..4u64], 3);
    (
        prop::collection::vec(holders, 0..usize::from(PINS)),
        phases,
        behind,
        prop::collection::vec(prop::bool::weighted(0.2), 3),
    )
        .prop_map(|(pins, phases, behind, lapsed)| World {
            pins,
            phases,
            behind,
            lapsed,
        })
}

impl World {
    fn state(&self) -> Model {
        let mut model = Model::default();
        let mut commands = vec![Command::Init {
            cluster: ClusterId([7; 16]),
            epoch: Epoch(1),
        }];
        commands.extend((1..=PEERS).map(|n| Command::AddMember {
            peer: peer(n),
            incarnation: Incarnation(n.into()),
            name: format!("peer{n}"),
            labels: BTreeMap::new(),
        }));
        commands.extend((0..).zip(&self.pins).map(|(n, holders)| {
            let copies = i32::try_from(holders.len()).unwrap();
            let replication = match copies {
                0 => Replication::Everywhere,
                n => Replication::new(n, n).unwrap(),
            };
            Command::Pin {
                spec: spec(n, replication),
                allocations: holders.iter().map(|n| peer(*n)).collect(),
                if_rev: IfRev::Any,
            }
        }));
        for (n, command) in (1..).zip(commands) {
            let session = Session {
                origin: peer(1),
                boot: Boot(1),
                n,
                floor: 0,
            };
            let entry = Entry {
                at: Timestamp(1000 * n),
                commands: vec![Envelope { session, command }],
            };
            apply(&mut model, LogIndex(n), &entry).unwrap();
        }
        model
    }

    fn tables(&self, rev: Rev) -> StatusTables {
        let id = |n: u8| TableId {
            peer: peer(n),
            incarnation: Incarnation(n.into()),
            boot: Boot(1),
        };
        let tables = StatusTables::new(id(1));
        tables.set_members(&(1..=PEERS).map(peer).collect());
        for (n, (phases, behind)) in (1..).zip(self.phases.iter().zip(&self.behind)) {
            let as_of = Rev(rev.0.saturating_sub(*behind));
            let known = (1..).zip(phases).take(self.pins.len());
            let known = known.filter_map(|(seq, phase)| Some((Seq(seq), (*phase)?)));
            if n == 1 {
                known.for_each(|(seq, phase)| tables.set(seq, phase, None));
                tables.advance(as_of);
                continue;
            }
            let mut own = OwnTable::new(id(n));
            known.for_each(|(seq, phase)| own.set(seq, phase, None));
            own.advance(as_of);
            while let Some(delta) = own.seal() {
                tables.apply_delta(delta).unwrap();
            }
        }
        tables
    }

    fn roster(&self, state: &Model, local: bool) -> Roster {
        let members = query::members(state).unwrap().into_iter().zip(&self.lapsed);
        let shown = members.map(|(member, lapsed)| Shown {
            no: member.no,
            peer: member.peer,
            name: member.name,
            ipfs: None,
            lapsed: *lapsed,
        });
        let peers = shown.filter(|shown| !local || shown.peer == peer(1));
        Roster {
            peers: peers.collect(),
            local,
            tells_sharded: true,
        }
    }
}

/// All pages of a list: what passes, and how many pins were looked at.
fn list(
    (state, tables, roster): (&Model, &StatusTables, &Roster),
    filter: StatusFilter,
    found: &Where,
    limit: usize,
) -> (Vec<GlobalPinInfo>, usize) {
    let (mut infos, mut looked_at, mut from) = (Vec::new(), 0, Some(Seq(0)));
    while let Some(at) = from {
        let page = candidates(state, tables, found, roster, (at, limit)).unwrap();
        assert!(page.items.len() <= limit);
        looked_at += page.items.len();
        tables.look(|look| {
            let shown = page.items.iter().map(|pin| roster.pin(pin, look));
            infos.extend(shown.filter_map(|info| passing(filter, info)));
        });
        from = page.next;
    }
    (infos, looked_at)
}

proptest! {
    #[test]
    fn bitmaps_find_what_a_look_at_every_pin_finds(
        world in world(),
        picked in prop::sample::subsequence(TrackerStatus::ALL.to_vec(), 1..4),
        local in any::<bool>(),
        limit in 1usize..9,
    ) {
        let state = world.state();
        let tables = world.tables(System::load(&state).unwrap().rev);
        let roster = world.roster(&state, local);
        let filter = StatusFilter::of(&picked);
        let parts = (&state, &tables, &roster);
        let (all, _) = list(parts, filter, &Where::Anywhere, limit);
        let (found, _) = list(parts, filter, &Where::of(filter), limit);
        prop_assert_eq!(found, all);
    }
}

#[test]
fn a_filter_that_few_pins_pass_reads_few_of_them() {
    let mut phases = vec![vec![Some(PinPhase::Pinned); usize::from(PINS)]; usize::from(PEERS)];
    phases[1][7] = Some(PinPhase::PinError);
    let world = World {
        pins: vec![vec![]; usize::from(PINS)],
        phases,
        behind: vec![0; 3],
        lapsed: vec![false; 3],
    };
    let state = world.state();
    let tables = world.tables(System::load(&state).unwrap().rev);
    let roster = world.roster(&state, false);
    let parts = (&state, &tables, &roster);
    for (text, passing, looked_at) in [
        ("error", 1, 1),
        ("pin_error,queued,pinning", 1, 1),
        ("queued", 0, 0),
        ("pinned", PINS.into(), PINS.into()),
    ] {
        let filter = StatusFilter::parse(text).unwrap();
        let (found, looked) = list(parts, filter, &Where::of(filter), 5);
        assert_eq!((found.len(), looked), (passing, looked_at), "{text}");
    }
}
