//! What the tests of the properties are made of.

use std::{collections::BTreeMap, sync::Arc};

use ipfs_cluster_node::consensus::{LogMark, RaftStatus};
use ipfs_cluster_protocol::{
    id::{Incarnation, LogIndex, MemberNo, PeerId, Rev, Seq},
    pin::{Pin, PinSpec, Replication},
    state::Member,
    time::Timestamp,
};

use crate::{
    observe::{Seen, View},
    workload::cid,
    world::HostId,
};

/// A peer's ID.
pub(super) fn peer(n: usize) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend_from_slice(&[7; 24]);
    bytes.extend_from_slice(&(n as u64).to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

/// Peers 1 to `n` as members.
pub(super) fn members(n: usize) -> Vec<Member> {
    let member = |n| Member {
        no: MemberNo(u32::try_from(n).unwrap()),
        peer: peer(n),
        incarnation: Incarnation(1),
        name: String::new(),
        labels: BTreeMap::new(),
        draining: false,
        down_since: None,
    };
    (1..=n).map(member).collect()
}

/// A pin of CID `n`.
pub(super) fn pin(n: u64, rev: u64, (min, max): (u32, u32)) -> Pin {
    let replication = Replication::Factor { min, max };
    Pin {
        seq: Seq(n),
        rev: Rev(rev),
        spec: PinSpec::new(cid(n).unwrap(), replication),
        allocations: Vec::new(),
        copies: max,
        timestamp: Timestamp(1),
    }
}

/// A look at a peer's state as of a rev.
pub(super) fn state(peer: HostId, rev: u64, change: impl FnOnce(&mut View)) -> Seen {
    let mut view = View::default();
    view.system.rev = Rev(rev);
    change(&mut view);
    Seen::State {
        peer,
        life: 0,
        view: Arc::new(view),
    }
}

/// The same look in that life of the peer, which has applied all of its log or has not.
pub(super) fn in_life(life: u64, seen: Seen, caught_up: bool) -> Seen {
    match seen {
        Seen::State { peer, view, .. } => {
            let mut view = view.as_ref().clone();
            view.caught_up = caught_up;
            let view = Arc::new(view);
            Seen::State { peer, life, view }
        }
        other => other,
    }
}

/// A look at a log of (index, term, content).
pub(super) fn log(peer: HostId, entries: &[(u64, u64, u8)]) -> Seen {
    let mark = |(index, term, content): &(u64, u64, u8)| LogMark {
        index: LogIndex(*index),
        term: *term,
        digest: [*content; 8],
    };
    Seen::Log {
        peer,
        status: RaftStatus::default(),
        marks: entries.iter().map(mark).collect(),
    }
}
