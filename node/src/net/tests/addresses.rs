//! How peers find each other, and find each other again.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    config, connected, env, peer, peer_knowing,
    relay::{Relay, port},
    unite, until, within,
};
use crate::net::{Identity, Net, NetConfig, Proto, peerstore, start};

#[tokio::test]
async fn peers_on_loopback_learn_each_other_from_one_bootstrap_address() {
    let a = peer().await;
    let b = peer_knowing(&[&a]).await;
    let c = peer_knowing(&[&a]).await;
    unite(&[&a, &b, &c]);
    connected(&b, &c).await;
    until("the addresses are exact", || {
        b.addresses_of(c.local_peer()) == c.listen_addresses()
            && c.addresses_of(b.local_peer()) == b.listen_addresses()
            && a.addresses_of(c.local_peer()) == c.listen_addresses()
    })
    .await;
}

#[tokio::test]
async fn a_peer_known_only_to_a_third_one_is_reached_through_kademlia() {
    let b = peer().await;
    let a = peer_knowing(&[&b]).await;
    let c = peer_knowing(&[&b]).await;
    let mut served = c.accept(Proto::Http);
    connected(&a, &b).await;
    connected(&c, &b).await;
    // No members and no cluster: nothing is gossiped, so only Kademlia can tell.
    let opened = async {
        loop {
            match a.open(c.local_peer(), Proto::Http).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let stream = within("a stream to the unknown peer", opened).await;
    assert_eq!(&stream.peer, c.local_peer());
    assert_eq!(
        &within("it", served.recv()).await.unwrap().peer,
        a.local_peer()
    );
}

/// The same peer again, on a new port, knowing what it knew.
async fn restarted(identity: &Identity, old: Net, bootstrap: &Net, other: &Net) -> Net {
    let stale = old.addresses_of(other.local_peer());
    old.shutdown().await;
    drop(old);
    let cfg = NetConfig {
        bootstrap: [bootstrap.listen_addresses(), stale].concat(),
        ..config(identity)
    };
    start(cfg, &env()).await.unwrap()
}

#[tokio::test]
async fn all_but_the_bootstrap_peer_come_back_on_new_ports() {
    let a = peer().await;
    let (id_b, id_c) = (Identity::generate(), Identity::generate());
    let with = |id: &Identity| NetConfig {
        bootstrap: a.listen_addresses(),
        ..config(id)
    };
    let b = start(with(&id_b), &env()).await.unwrap();
    let c = start(with(&id_c), &env()).await.unwrap();
    unite(&[&a, &b, &c]);
    connected(&b, &c).await;
    until("b knows c", || {
        b.addresses_of(c.local_peer()) == c.listen_addresses()
    })
    .await;
    let old_c = c.listen_addresses();

    let (b2, c2) = {
        let b2 = restarted(&id_b, b, &a, &c).await;
        let c2 = restarted(&id_c, c, &a, &b2).await;
        (b2, c2)
    };
    assert_ne!(c2.listen_addresses(), old_c);
    unite(&[&a, &b2, &c2]);
    connected(&b2, &c2).await;
    until("the stale addresses are replaced", || {
        a.addresses_of(c2.local_peer()) == c2.listen_addresses()
            && b2.addresses_of(c2.local_peer()) == c2.listen_addresses()
            && c2.addresses_of(b2.local_peer()) == b2.listen_addresses()
    })
    .await;
}

async fn behind(relay: &Relay, bootstrap: &[&Net]) -> (Net, libp2p::Multiaddr) {
    let cfg = NetConfig {
        announce: vec![relay.address.clone()],
        silence_max: Duration::from_secs(2),
        bootstrap: bootstrap
            .iter()
            .flat_map(|n| n.listen_addresses())
            .collect(),
        ..config(&Identity::generate())
    };
    // The real port is only known to the listener: fix it first.
    let free = free_port().await;
    let listen: libp2p::Multiaddr = format!("/ip4/127.0.0.1/tcp/{free}").parse().unwrap();
    relay.lead_to(free);
    let cfg = NetConfig {
        listen: vec![listen.clone()],
        ..cfg
    };
    (start(cfg, &env()).await.unwrap(), listen)
}

#[allow(clippy::disallowed_methods, reason = "a test's own socket")]
async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn only_announced_addresses_are_told_and_a_swallowed_connection_is_noticed() {
    let (relay_a, relay_b, relay_c) = tokio::join!(Relay::start(), Relay::start(), Relay::start());
    let (a, direct_a) = behind(&relay_a, &[]).await;
    let (b, direct_b) = behind(&relay_b, &[&a]).await;
    let (c, direct_c) = behind(&relay_c, &[&a]).await;
    let all = [&a, &b, &c];
    unite(&all);
    connected(&a, &b).await;
    connected(&b, &c).await;
    let relays = [&relay_a, &relay_b, &relay_c];
    assert!(
        relays
            .iter()
            .map(|r| r.passed.load(Ordering::SeqCst))
            .sum::<usize>()
            >= 3
    );
    until("everybody knows everybody", || {
        all.iter().all(|n| n.known_peers().len() == 2)
    })
    .await;
    let direct: Vec<_> = [&direct_a, &direct_b, &direct_c].map(port).into();
    for net in all {
        for (peer, addresses) in net.known_peers() {
            let ports: Vec<_> = addresses.iter().map(port).collect();
            assert!(
                !ports.iter().any(|p| direct.contains(p)),
                "{peer}: {addresses:?}"
            );
            assert_eq!(ports.len(), 1, "{peer}: {addresses:?}");
        }
    }

    for relay in relays {
        relay.swallow(true);
    }
    until("the silence is noticed", || {
        all.iter().all(|n| n.connected().is_empty())
    })
    .await;
    for relay in relays {
        relay.swallow(false);
    }
    connected(&a, &b).await;
    connected(&a, &c).await;
    connected(&b, &c).await;
}

#[tokio::test]
async fn the_peerstore_holds_the_members_after_a_clean_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peerstore");
    let a = peer().await;
    let cfg = NetConfig {
        bootstrap: a.listen_addresses(),
        peerstore: Some(path.clone()),
        ..config(&Identity::generate())
    };
    let b = start(cfg, &env()).await.unwrap();
    unite(&[&a, &b]);
    connected(&a, &b).await;
    b.shutdown().await;
    let (known, warnings) = peerstore::load(&*env().disk, &path).unwrap();
    assert_eq!(known, a.listen_addresses());
    assert!(warnings.is_empty());
}
