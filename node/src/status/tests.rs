//! Two tables over real sockets on loopback: each way of repair by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipfs_cluster_protocol::{
    hello::Hello,
    id::{Boot, ClusterId, Epoch, Incarnation, PeerId, Rev, Seq},
    pin::PinPhase,
    status::{Detail, TableId},
    time::Timestamp,
};

use tokio::sync::watch;

use super::*;
use crate::{
    consensus::Agreement,
    env::real,
    net::{self, Identity, Net, NetConfig, Proto, Topic},
    worker::Workers,
};

const DEADLINE: Duration = Duration::from_secs(30);

struct Peer {
    net: Net,
    tables: StatusTables,
    workers: Workers,
}

impl Peer {
    async fn new(known: &[&Self]) -> Self {
        let identity = Identity::generate();
        let cfg = NetConfig {
            psk: Some([7; 32]),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            gossip_heartbeat: Duration::from_millis(200),
            bootstrap: known
                .iter()
                .flat_map(|p| p.net.listen_addresses())
                .collect(),
            ..NetConfig::new(identity.to_secret().unwrap())
        };
        let net = net::start(cfg, &real::env()).await.unwrap();
        let tables = StatusTables::new(TableId {
            peer: net.local_peer().clone(),
            incarnation: Incarnation(1),
            boot: Boot(1),
        });
        Self {
            net,
            tables,
            workers: Workers::new(),
        }
    }

    fn id(&self) -> &PeerId {
        self.net.local_peer()
    }

    fn start(&mut self) {
        let timing = Timing {
            digest_min: Duration::from_millis(300),
            ..Timing::default()
        };
        let agreement = Agreement::new(watch::Sender::default().subscribe());
        start(
            &self.tables,
            &self.net,
            agreement,
            timing,
            &mut self.workers,
        );
    }

    fn phase_at(&self, owner: &Self, seq: Seq, rev: Rev) -> Option<PinPhase> {
        self.phase_of(owner.id(), seq, rev)
    }

    fn phase_of(&self, owner: &PeerId, seq: Seq, rev: Rev) -> Option<PinPhase> {
        let found = |look: &Lookup<'_>| look.status(owner, seq, rev).map(|(phase, _)| phase);
        self.tables.look(found)
    }
}

async fn pair() -> (Peer, Peer) {
    let a = Peer::new(&[]).await;
    let b = Peer::new(&[&a]).await;
    let both: BTreeMap<PeerId, Incarnation> = [
        (a.id().clone(), Incarnation(1)),
        (b.id().clone(), Incarnation(1)),
    ]
    .into();
    for peer in [&a, &b] {
        peer.net.set_hello(Hello {
            cluster: Some(ClusterId([1; 16])),
            epoch: Epoch(1),
            incarnation: Some(Incarnation(1)),
            ..Hello::default()
        });
        peer.net.set_members(both.clone());
        peer.tables.set_members(&both.keys().cloned().collect());
    }
    until("the peers connect", || {
        a.net.connected().contains(b.id()) && b.net.connected().contains(a.id())
    })
    .await;
    (a, b)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, held).await.is_ok(), "{what}");
}

#[tokio::test]
async fn deltas_arrive_by_gossip_alone() {
    let (mut a, mut b) = pair().await;
    b.start();
    a.start();
    drop(a.net.accept(Proto::StatusPull)); // nobody can pull from a
    // What leaves before b has subscribed is lost: first b must hear digests.
    let since = std::time::Instant::now();
    until("b hears of a", || {
        b.tables.info()[a.id()].age + Duration::from_millis(50) < since.elapsed()
    })
    .await;
    a.tables.set(Seq(1), PinPhase::Pinned, None);
    a.tables.advance(Rev(1));
    until("b hears a delta", || {
        b.tables.info()[a.id()].as_of == Rev(1)
    })
    .await;
    assert_eq!(b.phase_at(&a, Seq(1), Rev(1)), Some(PinPhase::Pinned));
    assert_eq!(b.phase_at(&a, Seq(1), Rev(2)), Some(PinPhase::PinQueued));
}

#[tokio::test(start_paused = true)]
async fn pins_that_change_are_told_before_a_state_that_only_moves_on() {
    let tables = StatusTables::new(TableId {
        peer: crate::testing::peer(1),
        incarnation: Incarnation(1),
        boot: Boot(1),
    });
    let idle = Duration::from_millis(250);
    let waited = async || {
        let start = tokio::time::Instant::now();
        tables.changed(idle).await;
        start.elapsed()
    };
    tables.advance(Rev(1));
    assert_eq!(waited().await, idle);
    tables.set(Seq(1), PinPhase::Pinned, None);
    assert_eq!(waited().await, Duration::ZERO);
    tables.seal().unwrap();
    let still = tokio::time::timeout(idle * 9, tables.changed(idle)).await;
    assert!(still.is_err(), "there is nothing to tell");
}

#[tokio::test]
async fn what_came_before_is_pulled_with_its_details() {
    let (mut a, mut b) = pair().await;
    let detail = Detail {
        error: "no progress".into(),
        attempts: 3,
        at: Timestamp(5),
    };
    for seq in 0..200_000 {
        a.tables.set(Seq(seq), PinPhase::Pinned, None);
    }
    a.tables
        .set(Seq(77), PinPhase::PinError, Some(detail.clone()));
    a.tables.advance(Rev(9));
    while a.tables.seal().is_some() {} // all of it lost
    a.start();
    b.start();
    until("b has a's table", || {
        b.phase_at(&a, Seq(77), Rev(9)) == Some(PinPhase::PinError)
    })
    .await;
    b.tables.look(|look| {
        let (_, shown) = look.status(a.id(), Seq(77), Rev(9)).unwrap();
        assert_eq!(shown, Some(&detail));
    });
    assert_eq!(
        b.tables.info()[a.id()].counts,
        a.tables.info()[a.id()].counts
    );
    let errors = BTreeSet::from([PinPhase::PinError]);
    b.tables.look(|look| {
        let both = [a.id(), b.id()];
        assert_eq!(look.page(both, &errors, Seq(0), 10), [Seq(77)]);
        assert_eq!(look.page([b.id()], &errors, Seq(0), 10), []);
        assert!(look.known(a.id(), 0).contains(77) && look.known(b.id(), 0).is_empty());
        assert_eq!((look.as_of(a.id()), look.as_of(b.id())), (Rev(9), Rev(0)));
    });
}

#[tokio::test]
async fn with_gossip_cut_off_the_owner_is_asked() {
    let (mut a, mut b) = pair().await;
    a.start();
    b.start();
    drop(b.net.subscribe(Topic::Status)); // b hears no gossip any more
    a.tables.set(Seq(1), PinPhase::Pinned, None);
    a.tables.advance(Rev(1));
    until("b pulls", || {
        b.phase_at(&a, Seq(1), Rev(1)) == Some(PinPhase::Pinned)
    })
    .await;
    a.tables.set(Seq(1), PinPhase::PinQueued, None);
    until("b pulls again", || {
        b.phase_at(&a, Seq(1), Rev(1)) == Some(PinPhase::PinQueued)
    })
    .await;
}

#[tokio::test]
async fn a_removed_members_table_is_dropped_and_a_holder_serves_an_absent_owners() {
    let (mut a, mut b) = pair().await;
    a.tables.set(Seq(4), PinPhase::Pinned, None);
    a.tables.advance(Rev(2));
    a.start();
    b.start();
    until("b has a's table", || {
        b.phase_at(&a, Seq(4), Rev(2)) == Some(PinPhase::Pinned)
    })
    .await;

    let mut c = Peer::new(&[&b]).await;
    let members: BTreeMap<PeerId, Incarnation> = [&a, &b, &c]
        .map(|p| (p.id().clone(), Incarnation(1)))
        .into();
    let a_id = a.id().clone();
    let set: BTreeSet<PeerId> = members.keys().cloned().collect();
    a.workers.shutdown(Duration::from_secs(1)).await;
    a.net.shutdown().await;
    c.net.set_hello(b.net.hello());
    for peer in [&b, &c] {
        peer.net.set_members(members.clone());
        peer.tables.set_members(&set);
    }
    c.start();
    until("c has a's table from b", || {
        c.phase_of(&a_id, Seq(4), Rev(2)) == Some(PinPhase::Pinned)
    })
    .await;
    c.tables
        .set_members(&BTreeSet::from([b.id().clone(), c.id().clone()]));
    assert!(!c.tables.info().contains_key(&a_id));
}
