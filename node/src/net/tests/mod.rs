//! Several networks over real sockets on loopback.

mod addresses;
mod gossip;
mod hostile;
mod log;
mod relay;
mod streams;

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::{
    hello::Hello,
    id::{ClusterId, Epoch, Incarnation, PeerId},
};
use libp2p::Multiaddr;

use super::{Identity, Net, NetConfig, start};
use crate::env::{Env, real};

/// Far more than anything here takes; a test that needs it all has failed.
const DEADLINE: Duration = Duration::from_secs(30);
const SECRET: [u8; 32] = [7; 32];

fn env() -> Env {
    real::env()
}

fn any_port() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// A peer's settings: the common secret, a free port on loopback.
fn config(identity: &Identity) -> NetConfig {
    NetConfig {
        psk: Some(SECRET),
        listen: vec![any_port()],
        gossip_heartbeat: Duration::from_millis(200),
        ..NetConfig::new(identity.to_secret().unwrap())
    }
}

async fn peer() -> Net {
    start(config(&Identity::generate()), &env()).await.unwrap()
}

async fn peer_knowing(others: &[&Net]) -> Net {
    let cfg = NetConfig {
        bootstrap: others.iter().flat_map(|n| n.listen_addresses()).collect(),
        ..config(&Identity::generate())
    };
    start(cfg, &env()).await.unwrap()
}

fn hello(cluster: u8, incarnation: u64) -> Hello {
    Hello {
        cluster: Some(ClusterId([cluster; 16])),
        epoch: Epoch(1),
        incarnation: Some(Incarnation(incarnation)),
        ..Hello::default()
    }
}

/// Makes all of them members of cluster 1; the incarnation is the position, from 1.
fn unite(peers: &[&Net]) {
    let incarnations = (1..).map(Incarnation);
    let members: BTreeMap<PeerId, Incarnation> = peers
        .iter()
        .map(|n| n.local_peer().clone())
        .zip(incarnations)
        .collect();
    for net in peers {
        let incarnation = members.get(net.local_peer()).unwrap();
        net.set_hello(hello(1, incarnation.0));
        net.set_members(members.clone());
    }
}

async fn pair() -> (Net, Net) {
    let a = peer().await;
    let b = peer_knowing(&[&a]).await;
    unite(&[&a, &b]);
    (a, b)
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, held).await.is_ok(), "{what}");
}

async fn connected(a: &Net, b: &Net) {
    until("the peers connect", || {
        a.connected().contains(b.local_peer()) && b.connected().contains(a.local_peer())
    })
    .await;
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"))
}
