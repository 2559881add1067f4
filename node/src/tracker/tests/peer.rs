//! A tracker over a real state and a real ledger, beside an IPFS node in memory. Blocking work runs
//! in place, so that with a paused clock a test is the same each time.

use std::{collections::BTreeMap, future::ready, sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use ipfs_cluster_protocol::{
    command::{Command, Entry, Envelope, IfRev, Outcome, Session},
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, LogIndex, PeerId, Seq},
    pin::{PinPhase, PinSpec, Replication},
    state::{apply, query},
    status::TableId,
};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::Instant};

use super::node::Node;
use crate::{
    cluster::wall_clock,
    env::{Env, Job, Lane, LaneDoor, Lanes, real},
    status::StatusTables,
    storage::{StateStore, StateTuning},
    tracker::{Counted, Tracker, TrackerParts, TrackerSettings, gone::GoneReport, run},
    worker::Workers,
};

struct InPlace;

impl Lanes for InPlace {
    fn lane(&self, _: &str) -> Lane {
        Lane::new(Arc::new(Self))
    }
}

impl LaneDoor for InPlace {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        job();
        ready(()).boxed()
    }
}

pub(super) fn member(n: u8) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([n; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

pub(super) fn cid(n: u8) -> Cid {
    let mut bytes = vec![0x01, 0x55, 0x12, 0x20];
    bytes.extend([n; 32]);
    Cid::from_bytes(&bytes).unwrap()
}

const CLUSTER: ClusterId = ClusterId([7; 16]);
/// Long enough for whatever a test waits for, in virtual time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Peer {
    pub(super) dir: TempDir,
    env: Env,
    pub(super) state: StateStore,
    pub(super) node: Arc<Node>,
    pub(super) tables: StatusTables,
    pub(super) tracker: Tracker,
    pub(super) gone: mpsc::Receiver<GoneReport>,
    pub(super) counted: mpsc::Receiver<Counted>,
    pub(super) workers: usize,
    running: Workers,
    n: u64,
}

fn tables() -> StatusTables {
    StatusTables::new(TableId {
        peer: member(1),
        incarnation: Incarnation(1),
        boot: Boot(1),
    })
}

impl Peer {
    /// Member 1 of a cluster of two, its tracker running.
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut env = real::env();
        env.lanes = Arc::new(InPlace);
        let path = dir.path().join("state.redb");
        let state = StateStore::open(&env, path, StateTuning::default())
            .await
            .unwrap();
        let (_, gone) = mpsc::channel(1);
        let (_, counted) = mpsc::channel(1);
        let mut peer = Self {
            dir,
            env,
            state,
            node: Arc::new(Node::default()),
            tables: tables(),
            tracker: Tracker::new().0,
            gone,
            counted,
            workers: 4,
            running: Workers::new(),
            n: 0,
        };
        let (cluster, epoch) = (CLUSTER, Epoch(1));
        peer.commit(Command::Init { cluster, epoch }).await;
        for n in 1..=2 {
            peer.commit(Command::AddMember {
                peer: member(n),
                incarnation: Incarnation(n.into()),
                name: String::new(),
                labels: BTreeMap::new(),
            })
            .await;
        }
        peer.restart();
        peer
    }

    /// The process dies, and another one starts.
    pub(super) fn restart(&mut self) {
        self.stop();
        let (tracker, inbox) = Tracker::new();
        let (gone, reports) = mpsc::channel(16);
        let (sizes, counted) = mpsc::channel(16);
        self.counted = counted;
        self.state.changes().note_all(self.state.position().rev);
        (self.tracker, self.gone, self.tables) = (tracker, reports, tables());
        let parts = TrackerParts {
            me: member(1),
            cluster: CLUSTER,
            ledger: self.dir.path().join("ledger"),
            state: self.state.clone(),
            changes: self.state.changes().clone(),
            ipfs: self.node.clone(),
            tables: self.tables.clone(),
            gone,
            sizes,
            settings: TrackerSettings {
                concurrent: self.workers,
                queue_max: 1000,
                recover_interval: Duration::from_secs(60),
                priority_max_age: Duration::from_secs(3600),
                unpin_disable: false,
            },
        };
        let env = self.env.clone();
        self.running
            .spawn_until("tracker", |stop| run(parts, inbox, env, stop));
    }

    /// The process dies.
    pub(super) fn stop(&mut self) {
        self.running = Workers::new();
    }

    pub(super) async fn commit(&mut self, command: Command) {
        self.n += 1;
        let (index, n) = (LogIndex(self.n), self.n);
        let session = Session {
            origin: member(1),
            boot: Boot(1),
            n,
            floor: n,
        };
        let entry = Entry {
            at: wall_clock(),
            commands: vec![Envelope { session, command }],
        };
        let work = self.state.apply(move |job| {
            job.step(|tx, position| {
                let applied = apply(tx, index, &entry)?;
                position.rev = applied.rev;
                Ok(applied)
            })
        });
        let applied = work.await.unwrap();
        let done = matches!(applied.outcomes.as_slice(), [Outcome::Applied { .. }]);
        assert!(done, "{:?}", applied.outcomes);
        let seqs = applied.changes.iter().map(|change| change.seq);
        self.state.changes().note(seqs, applied.rev);
    }

    pub(super) async fn pin(&mut self, n: u8) {
        let spec = PinSpec::new(cid(n), Replication::new(1, 1).unwrap());
        self.pin_as(spec, IfRev::Any).await;
    }

    pub(super) async fn pin_as(&mut self, spec: PinSpec, if_rev: IfRev) {
        let allocations = vec![member(1)];
        self.commit(Command::Pin {
            spec,
            allocations,
            if_rev,
        })
        .await;
    }

    pub(super) async fn unpin(&mut self, n: u8) {
        self.commit(Command::Unpin { cid: cid(n) }).await;
    }

    /// Takes one report, and tells the cluster.
    pub(super) async fn report(&mut self) {
        let GoneReport { seq, as_of, .. } = self.gone.recv().await.unwrap();
        let (peer, seqs) = (member(1), vec![seq]);
        self.commit(Command::Gone { peer, as_of, seqs }).await;
    }

    pub(super) async fn seq(&self, n: u8) -> Seq {
        let read = self.state.read(move |s| query::stored_by_cid(s, &cid(n)));
        read.await.unwrap().unwrap().seq()
    }

    pub(super) async fn phase(&self, n: u8) -> Option<PinPhase> {
        let seq = self.seq(n).await;
        self.tables
            .read_own(|own| own.content().get(seq).map(|(phase, _)| phase))
    }

    pub(super) async fn until_phase(&self, n: u8, phase: PinPhase) {
        let seq = self.seq(n).await;
        let in_phase = || {
            self.tables
                .read_own(|own| own.content().get(seq).map(|(phase, _)| phase))
                == Some(phase)
        };
        self.until(in_phase).await;
    }

    /// Waits, in virtual time, until something is so.
    pub(super) async fn until(&self, so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < deadline, "it never came to that");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
