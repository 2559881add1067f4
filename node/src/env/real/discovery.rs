//! Peers of the same network segment, by multicast DNS.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
};

use futures::{StreamExt as _, stream, stream::BoxStream};
use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    mdns,
    multiaddr::Protocol,
    swarm::{FromSwarm, NetworkBehaviour as _, NewListenAddr, ToSwarm},
};

use crate::env::Discovery;

/// libp2p's mDNS (`_p2p._udp.local`), driven without a swarm: only its list of neighbours matters.
///
/// IPFS nodes of the segment announce themselves under the same name; dialling one fails at the
/// pre-shared key, and harms nobody.
#[derive(Debug)]
pub(super) struct Mdns;

impl Discovery for Mdns {
    fn run(&self, service: &str, addresses: Vec<String>) -> BoxStream<'static, String> {
        let addresses: Vec<Multiaddr> = addresses.iter().filter_map(|a| a.parse().ok()).collect();
        let me = addresses.iter().find_map(peer_of);
        let Some(me) = me else {
            return stream::empty().boxed();
        };
        match mdns::tokio::Behaviour::new(mdns::Config::default(), me) {
            Ok(behaviour) => neighbours(behaviour, addresses).boxed(),
            Err(error) => {
                tracing::warn!(service, %error, "no multicast DNS on this machine");
                stream::empty().boxed()
            }
        }
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}

struct Search {
    behaviour: mdns::tokio::Behaviour,
    found: VecDeque<String>,
}

impl Search {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            if let Some(address) = self.found.pop_front() {
                return Poll::Ready(address);
            }
            match self.behaviour.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(mdns::Event::Discovered(peers))) => {
                    for (peer, address) in peers {
                        if let Ok(address) = address.with_p2p(peer) {
                            self.found.push_back(address.to_string());
                        }
                    }
                }
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn neighbours(
    mut behaviour: mdns::tokio::Behaviour,
    addresses: Vec<Multiaddr>,
) -> impl stream::Stream<Item = String> + Send {
    for address in &addresses {
        // The behaviour appends the peer ID itself.
        let bare: Multiaddr = address
            .iter()
            .filter(|part| !matches!(part, Protocol::P2p(_)))
            .collect();
        behaviour.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr {
            listener_id: ListenerId::next(),
            addr: &bare,
        }));
    }
    let search = Search {
        behaviour,
        found: VecDeque::new(),
    };
    stream::unfold(search, |mut search| async move {
        let address = poll_fn(|cx| search.poll_next(cx)).await;
        Some((address, search))
    })
}
