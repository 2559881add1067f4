//! Connecting to peers: known addresses first, then a search through Kademlia, once at a time per
//! peer however many ask.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::limits;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    kad::QueryId,
    swarm::{
        ConnectionId, DialError as SwarmDialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    addresses, behaviour::Behaviour, error::DialError, greeting::NoGreeting, identity::from_libp2p,
    peers::Book,
};

/// The same peer is not searched for more often.
const SEARCH_PAUSE: std::time::Duration = std::time::Duration::from_secs(3);

type Waiter = oneshot::Sender<Result<(), DialError>>;
type AddressWaiter = oneshot::Sender<Result<PeerId, DialError>>;

#[derive(Debug, Default)]
struct Attempt {
    waiters: Vec<Waiter>,
    /// Addresses tried so far.
    tried: Vec<Multiaddr>,
    /// Whether the search was made, or is being made.
    searched: bool,
    /// Why the last dial failed.
    error: Option<DialError>,
}

/// Attempts under way.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    attempts: BTreeMap<PeerId, Attempt>,
    searches: Vec<(QueryId, PeerId)>,
    searched_at: BTreeMap<PeerId, Instant>,
    /// Dials of bare addresses.
    addressed: BTreeMap<ConnectionId, AddressWaiter>,
}

impl Dialer {
    pub(super) fn is_under_way(&self, peer: &PeerId) -> bool {
        self.attempts.contains_key(peer)
    }

    /// Connects to a peer; `waiter` hears of it. Answers false when the attempt failed at once.
    pub(super) fn connect(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        book: &Book,
        peer: PeerId,
        waiter: Option<Waiter>,
    ) -> bool {
        if swarm.is_connected(&peer) {
            waiter.map(|w| w.send(Ok(())));
            return true;
        }
        if peer == *swarm.local_peer_id() {
            waiter.map(|w| w.send(Err(DialError::BadAddress("this peer itself".into()))));
            return false;
        }
        if let Some(attempt) = self.attempts.get_mut(&peer) {
            if attempt.waiters.len() < limits::NET_DIAL_WAITERS_MAX {
                attempt.waiters.extend(waiter);
            }
            return true;
        }
        if self.attempts.len() >= limits::NET_DIALS_MAX {
            waiter.map(|w| w.send(Err(DialError::Unreachable("too many dials wait".into()))));
            return false;
        }
        let attempt = Attempt {
            waiters: waiter.into_iter().collect(),
            ..Attempt::default()
        };
        self.attempts.insert(peer, attempt);
        self.advance(swarm, book, peer)
    }

    /// Dials what was not tried yet, else searches, else gives up (false).
    fn advance(&mut self, swarm: &mut Swarm<Behaviour>, book: &Book, peer: PeerId) -> bool {
        let Some(attempt) = self.attempts.get_mut(&peer) else {
            return true;
        };
        let mut untried = book.dialable(&peer);
        untried.retain(|a| !attempt.tried.contains(a));
        if !untried.is_empty() {
            attempt.tried.extend(untried.iter().cloned());
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(untried)
                .allocate_new_port()
                .build();
            match swarm.dial(dial) {
                // Somebody else dials already; its outcome is ours.
                Ok(()) | Err(SwarmDialError::DialPeerConditionFalse(_)) => return true,
                Err(e) => attempt.error = Some(translate(&e)),
            }
        }
        if !attempt.searched {
            attempt.searched = true;
            if self.search(swarm, peer) {
                return true;
            }
        }
        self.finish(&peer, None);
        false
    }

    fn search(&mut self, swarm: &mut Swarm<Behaviour>, peer: PeerId) -> bool {
        let now = Instant::now();
        self.searched_at
            .retain(|_, at| now.duration_since(*at) < SEARCH_PAUSE);
        let nobody_to_ask = swarm.behaviour_mut().dht.kbuckets().next().is_none();
        if nobody_to_ask
            || self.searches.len() >= limits::NET_SEARCHES_MAX
            || self.searched_at.contains_key(&peer)
        {
            return false;
        }
        self.searched_at.insert(peer, now);
        let query = swarm.behaviour_mut().dht.get_closest_peers(peer);
        self.searches.push((query, peer));
        true
    }

    /// A search has ended; whoever it found is in the book, or connected.
    pub(super) fn search_ended(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        book: &Book,
        query: QueryId,
    ) -> Option<PeerId> {
        let at = self.searches.iter().position(|(q, _)| *q == query)?;
        let (_, peer) = self.searches.swap_remove(at);
        let failed = !swarm.is_connected(&peer)
            && self.is_under_way(&peer)
            && !self.advance(swarm, book, peer);
        failed.then_some(peer)
    }

    /// Dials an address, whoever is there.
    pub(super) fn dial(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        address: Multiaddr,
        waiter: AddressWaiter,
    ) {
        let bad = |waiter: AddressWaiter| {
            let _ = waiter.send(Err(DialError::BadAddress(address.to_string())));
        };
        if !addresses::is_dialable(&address) || self.addressed.len() >= limits::NET_DIALS_MAX {
            return bad(waiter);
        }
        let opts = match addresses::peer_of(&address) {
            Some(peer) if peer == *swarm.local_peer_id() => return bad(waiter),
            Some(peer) if swarm.is_connected(&peer) => {
                let _ = waiter.send(Ok(peer));
                return;
            }
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(vec![address.clone()])
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id()
                .address(address.clone())
                .allocate_new_port()
                .build(),
        };
        let connection = opts.connection_id();
        match swarm.dial(opts) {
            Ok(()) => {
                self.addressed.insert(connection, waiter);
            }
            Err(e) => {
                let _ = waiter.send(Err(translate(&e)));
            }
        }
    }

    /// A connection is open.
    pub(super) fn connected(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(waiter) = self.addressed.remove(&connection) {
            let _ = waiter.send(Ok(peer));
        }
        if let Some(attempt) = self.attempts.remove(&peer) {
            for waiter in attempt.waiters {
                let _ = waiter.send(Ok(()));
            }
        }
    }

    /// A dial failed. Answers the peer that is given up for now.
    pub(super) fn failed(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        book: &Book,
        connection: ConnectionId,
        peer: Option<PeerId>,
        error: &SwarmDialError,
    ) -> Option<PeerId> {
        if let Some(waiter) = self.addressed.remove(&connection) {
            let _ = waiter.send(Err(translate(error)));
        }
        let peer = peer?;
        let attempt = self.attempts.get_mut(&peer)?;
        attempt.error = Some(translate(error));
        let searching = self.searches.iter().any(|(_, p)| *p == peer);
        let failed = !searching && !self.advance(swarm, book, peer);
        failed.then_some(peer)
    }

    fn finish(&mut self, peer: &PeerId, error: Option<DialError>) {
        let Some(attempt) = self.attempts.remove(peer) else {
            return;
        };
        let error = error
            .or(attempt.error)
            .unwrap_or_else(|| from_libp2p(peer).map_or(DialError::TimedOut, DialError::NoAddress));
        for waiter in attempt.waiters {
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

/// The swarm's error in the user's words.
pub(super) fn translate(error: &SwarmDialError) -> DialError {
    match error {
        SwarmDialError::Transport(errors) => {
            let wrong_secret = errors.iter().find_map(|(address, e)| match e {
                libp2p::TransportError::Other(e) => NoGreeting::find(e)
                    .filter(|fault| !fault.closed)
                    .map(|_| address),
                libp2p::TransportError::MultiaddrNotSupported(_) => None,
            });
            if let Some(address) = wrong_secret {
                return DialError::WrongSecret {
                    address: address.to_string(),
                };
            }
            let texts: Vec<_> = errors
                .iter()
                .map(|(a, e)| format!("{a}: {}", root(e)))
                .collect();
            DialError::Unreachable(texts.join("; "))
        }
        SwarmDialError::WrongPeerId { obtained, address } => DialError::OtherPeer {
            address: address.to_string(),
            found: obtained.to_string(),
        },
        SwarmDialError::LocalPeerId { address } => DialError::BadAddress(address.to_string()),
        other => DialError::Unreachable(other.to_string()),
    }
}

/// The innermost cause: the layers above only repeat that something failed below.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    for _ in 0..32 {
        match current.source() {
            Some(inner) => current = inner,
            None => break,
        }
    }
    current.to_string()
}
