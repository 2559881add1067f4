//! The state machine's stories and its properties, over a cluster in a box.

mod membership;
mod pins;
mod random;
mod requests;
mod sizes;

use std::collections::BTreeMap;

use super::{Applied, Model, StateRead, System, apply, check_invariants, query};
use crate::{
    command::{Command, Entry, Envelope, IfRev, Outcome, Rejection, Session},
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, LogIndex, PeerId, Rev, Seq},
    pin::{Pin, PinSpec, Replication},
    time::Timestamp,
};

/// The peer of a small number.
pub(crate) fn peer(n: u8) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([n; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

/// The CID of a small number.
pub(crate) fn cid(n: u8) -> Cid {
    let mut bytes = vec![0x01, 0x55, 0x12, 0x20];
    bytes.extend([n; 32]);
    Cid::from_bytes(&bytes).unwrap()
}

/// A data pin of these factors.
pub(crate) fn spec(n: u8, min: i32, max: i32) -> PinSpec {
    PinSpec::new(cid(n), Replication::new(min, max).unwrap())
}

/// A state and what a leader keeps beside it: the next index, the clock, the next request.
#[derive(Debug, Clone)]
pub(crate) struct Box3 {
    pub(crate) model: Model,
    index: u64,
    pub(crate) clock: u64,
    n: u64,
}

impl Box3 {
    /// A formed cluster of peers 1 to `members`.
    pub(crate) fn new(members: u8) -> Self {
        let mut cluster = Self {
            model: Model::default(),
            index: 0,
            clock: 1_000_000,
            n: 0,
        };
        cluster.done(Command::Init {
            cluster: ClusterId([7; 16]),
            epoch: Epoch(1),
        });
        for n in 1..=members {
            cluster.add(n);
        }
        cluster
    }

    pub(crate) fn add(&mut self, n: u8) -> Rev {
        self.done(Command::AddMember {
            peer: peer(n),
            incarnation: Incarnation(self.index + 1),
            name: format!("peer{n}"),
            labels: BTreeMap::new(),
        })
    }

    /// A session of peer 1's that was never used.
    pub(crate) fn session(&mut self) -> Session {
        self.n += 1;
        Session {
            origin: peer(1),
            boot: Boot(1),
            n: self.n,
            floor: self.n.saturating_sub(8),
        }
    }

    pub(crate) fn entry(&mut self, commands: Vec<Envelope>) -> Applied {
        self.index += 1;
        self.clock += 1000;
        let at = Timestamp(self.clock);
        let entry = Entry { at, commands };
        let applied = apply(&mut self.model, LogIndex(self.index), &entry).unwrap();
        check_invariants(&self.model).unwrap();
        applied
    }

    pub(crate) fn say(&mut self, session: Session, command: Command) -> Outcome {
        let mut applied = self.entry(vec![Envelope { session, command }]);
        applied.outcomes.remove(0)
    }

    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        let session = self.session();
        self.say(session, command)
    }

    pub(crate) fn done(&mut self, command: Command) -> Rev {
        match self.run(command) {
            Outcome::Applied { rev } => rev,
            other => panic!("not applied: {other:?}"),
        }
    }

    pub(crate) fn rejected(&mut self, command: Command) -> Rejection {
        match self.run(command) {
            Outcome::Rejected(rejection) => rejection,
            other => panic!("not rejected: {other:?}"),
        }
    }

    pub(crate) fn pin(&mut self, spec: PinSpec, on: &[u8]) -> Rev {
        self.done(pin_command(spec, on, IfRev::Any))
    }

    pub(crate) fn get(&self, n: u8) -> Pin {
        query::pin_by_cid(&self.model, &cid(n))
            .unwrap()
            .expect("the CID is pinned")
    }

    pub(crate) fn place(&self, n: u8, on: &[u8], confirmed: &[u8]) -> Command {
        let pin = self.get(n);
        Command::Place {
            seq: pin.seq,
            if_rev: pin.rev,
            allocations: peers(on),
            confirmed: peers(confirmed),
        }
    }

    pub(crate) fn gone(&mut self, n: u8, seqs: &[Seq]) -> Rev {
        let as_of = System::load(&self.model).unwrap().rev;
        self.done(Command::Gone {
            peer: peer(n),
            as_of,
            seqs: seqs.to_vec(),
        })
    }

    pub(crate) fn to_hold(&self, n: u8) -> Vec<Seq> {
        let no = query::member(&self.model, &peer(n)).unwrap().unwrap().no;
        query::to_hold(&self.model, no, Seq(0), 100).unwrap().items
    }

    pub(crate) fn to_unpin(&self, n: u8) -> Vec<Seq> {
        let no = query::member(&self.model, &peer(n)).unwrap().unwrap().no;
        query::to_unpin(&self.model, no, Seq(0), 100).unwrap().items
    }
}

pub(crate) fn peers(numbers: &[u8]) -> Vec<PeerId> {
    numbers.iter().map(|n| peer(*n)).collect()
}

pub(crate) fn pin_command(spec: PinSpec, on: &[u8], if_rev: IfRev) -> Command {
    Command::Pin {
        spec,
        allocations: peers(on),
        if_rev,
    }
}

pub(crate) fn unpin(n: u8) -> Command {
    Command::Unpin { cid: cid(n) }
}

/// All of a state as bytes, to compare two.
pub(crate) fn hash(read: &dyn StateRead) -> u64 {
    System::load(read).unwrap().hash
}
