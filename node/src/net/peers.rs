//! The address book: where other peers can be reached, in the order to try.
//!
//! A peer's own word about its addresses (over its authenticated connection, or signed and
//! numbered in gossip) replaces what it said before, so an address of a former run does not
//! linger. What the user configured or somebody else mentioned are *hints*: tried after it, and
//! forgotten once they fail.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::limits;
use libp2p::{
    Multiaddr, PeerId,
    core::{PeerRecord, SignedEnvelope},
};

use super::addresses::{is_dialable, peer_of, without_peer};

#[derive(Debug, Default)]
struct Entry {
    /// What the peer itself says, in its order.
    advertised: Vec<Multiaddr>,
    /// Number of the record that said so.
    seq: u64,
    /// What the user or others say.
    hints: Vec<Multiaddr>,
    /// Where the last successful dial went.
    last_good: Option<Multiaddr>,
    /// When the entry was last added to: the oldest goes when the book is full.
    touched: u64,
}

/// Addresses of peers. Bounded.
#[derive(Debug)]
pub(super) struct Book {
    local: PeerId,
    peers: BTreeMap<PeerId, Entry>,
    /// Counts additions, for `touched`.
    clock: u64,
    /// Rises whenever what would be written to the peerstore may have changed.
    revision: u64,
}

impl Book {
    pub(super) fn new(local: PeerId) -> Self {
        Self {
            local,
            peers: BTreeMap::new(),
            clock: 0,
            revision: 0,
        }
    }

    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    fn entry(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        if *peer == self.local {
            return None;
        }
        if self.peers.len() >= limits::NET_PEERS_MAX && !self.peers.contains_key(peer) {
            let oldest = self.peers.iter().min_by_key(|(_, e)| e.touched);
            let oldest = oldest.map(|(p, _)| *p);
            oldest.and_then(|p| self.peers.remove(&p));
        }
        self.clock += 1;
        let entry = self.peers.entry(*peer).or_default();
        entry.touched = self.clock;
        Some(entry)
    }

    /// Adds addresses that the user or another peer mentioned. Answers whether any is new.
    pub(super) fn hint(&mut self, peer: &PeerId, addresses: &[Multiaddr]) -> bool {
        let fresh = usable(peer, addresses);
        if fresh.is_empty() {
            return false;
        }
        let Some(entry) = self.entry(peer) else {
            return false;
        };
        let mut added = false;
        for address in fresh {
            if entry.advertised.contains(&address) || entry.hints.contains(&address) {
                continue;
            }
            if entry.hints.len() == limits::NET_HINTS_MAX {
                entry.hints.remove(0);
            }
            entry.hints.push(address);
            added = true;
        }
        self.revision += u64::from(added);
        added
    }

    /// Takes what the peer says of itself over its own connection: true as of now, whatever the
    /// number (its clock may have gone back). Answers whether anything changed.
    pub(super) fn direct(&mut self, peer: &PeerId, seq: u64, addresses: &[Multiaddr]) -> bool {
        self.advertise(peer, seq, addresses)
    }

    /// Takes a signed record that arrived through others: only a higher number counts. Answers
    /// whose addresses changed.
    pub(super) fn record(&mut self, envelope: SignedEnvelope) -> Option<PeerId> {
        let record = PeerRecord::from_signed_envelope(envelope).ok()?;
        let peer = record.peer_id();
        if self.peers.get(&peer).is_some_and(|e| record.seq() <= e.seq) {
            return None;
        }
        self.advertise(&peer, record.seq(), record.addresses())
            .then_some(peer)
    }

    fn advertise(&mut self, peer: &PeerId, seq: u64, addresses: &[Multiaddr]) -> bool {
        let fresh = usable(peer, addresses);
        if fresh.is_empty() {
            return false;
        }
        let Some(entry) = self.entry(peer) else {
            return false;
        };
        entry.seq = seq;
        if entry.advertised == fresh {
            return false;
        }
        entry.hints.retain(|h| !fresh.contains(h));
        entry.last_good = entry.last_good.take().filter(|a| fresh.contains(a));
        entry.advertised = fresh;
        self.revision += 1;
        true
    }

    /// A dial went through.
    pub(super) fn succeeded(&mut self, peer: &PeerId, address: &Multiaddr) {
        let address = without_peer(address);
        if let Some(entry) = self.peers.get_mut(peer)
            && (entry.advertised.contains(&address) || entry.hints.contains(&address))
        {
            entry.last_good = Some(address);
        }
    }

    /// A dial failed. A hint is forgotten once the peer has told its addresses itself.
    pub(super) fn failed(&mut self, peer: &PeerId, address: &Multiaddr) {
        let address = without_peer(address);
        if let Some(entry) = self.peers.get_mut(peer) {
            if entry.last_good.as_ref() == Some(&address) {
                entry.last_good = None;
            }
            if !entry.advertised.is_empty() && entry.hints.contains(&address) {
                entry.hints.retain(|h| *h != address);
                self.revision += 1;
            }
        }
    }

    /// Another peer answered there.
    pub(super) fn belongs_to_another(&mut self, peer: &PeerId, address: &Multiaddr) {
        let address = without_peer(address);
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.hints.retain(|h| *h != address);
            entry.advertised.retain(|h| *h != address);
            self.revision += 1;
        }
    }

    /// Where to dial, best first.
    pub(super) fn dialable(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(entry) = self.peers.get(peer) else {
            return Vec::new();
        };
        let mut out = Vec::with_capacity(entry.advertised.len() + entry.hints.len());
        let all = entry.last_good.iter().chain(&entry.advertised);
        for address in all.chain(&entry.hints) {
            if !out.contains(address) {
                out.push(address.clone());
            }
        }
        out
    }

    /// What the peer itself says, or the hints where it has said nothing yet.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(entry) = self.peers.get(peer) else {
            return Vec::new();
        };
        if entry.advertised.is_empty() {
            entry.hints.clone()
        } else {
            entry.advertised.clone()
        }
    }

    /// What the peer itself says.
    pub(super) fn advertised(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], |e| &e.advertised)
    }

    /// Everybody with an address.
    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }
}

/// Addresses that can be dialled and do not name another peer, without `/p2p/`, bounded.
fn usable(peer: &PeerId, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    let mut out: Vec<Multiaddr> = Vec::new();
    for address in addresses {
        let own = peer_of(address).is_none_or(|named| named == *peer);
        let plain = without_peer(address);
        if own && is_dialable(&plain) && !out.contains(&plain) {
            out.push(plain);
        }
        if out.len() == limits::NET_ADVERTISED_MAX {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;

    fn at(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_peers_own_word_replaces_what_it_said_before() {
        let (mut book, peer) = (Book::new(PeerId::random()), PeerId::random());
        assert!(book.hint(&peer, &[at(1)]));
        assert!(book.direct(&peer, 10, &[at(2)]));
        assert!(book.direct(&peer, 11, &[at(3)]));
        assert_eq!(book.addresses(&peer), [at(3)]);
        assert_eq!(book.dialable(&peer), [at(3), at(1)]);
        book.failed(&peer, &at(1));
        assert_eq!(book.dialable(&peer), [at(3)]);
    }

    #[test]
    fn a_hint_alone_is_never_forgotten() {
        let (mut book, peer) = (Book::new(PeerId::random()), PeerId::random());
        book.hint(&peer, &[at(1)]);
        book.failed(&peer, &at(1));
        assert_eq!(book.dialable(&peer), [at(1)]);
    }

    #[test]
    fn only_a_record_with_a_higher_number_counts() {
        let (mut book, keys) = (Book::new(PeerId::random()), Keypair::generate_ed25519());
        let peer = keys.public().to_peer_id();
        let record = PeerRecord::new(&keys, vec![at(5)]).unwrap();
        let (seq, envelope) = (record.seq(), record.into_signed_envelope());
        book.direct(&peer, seq, &[at(6)]);
        assert_eq!(book.record(envelope.clone()), None);
        assert_eq!(book.addresses(&peer), [at(6)]);
        book.direct(&peer, seq - 1, &[at(6)]);
        assert_eq!(book.record(envelope), Some(peer));
        assert_eq!(book.addresses(&peer), [at(5)]);
    }

    #[test]
    fn addresses_naming_another_peer_or_nowhere_are_ignored() {
        let (mut book, peer) = (Book::new(PeerId::random()), PeerId::random());
        let other = super::super::addresses::with_peer(&at(1), &PeerId::random());
        assert!(!book.hint(
            &peer,
            &[other, at(0), "/ip4/0.0.0.0/tcp/7".parse().unwrap()]
        ));
        assert!(book.addresses(&peer).is_empty());
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = Book::new(PeerId::random());
        let first = PeerId::random();
        book.hint(&first, &[at(1)]);
        for _ in 0..limits::NET_PEERS_MAX {
            book.hint(&PeerId::random(), &[at(1)]);
        }
        assert_eq!(book.peers().count(), limits::NET_PEERS_MAX);
        assert!(book.addresses(&first).is_empty());
        let many: Vec<_> = (1..100).map(at).collect();
        book.hint(&first, &many);
        assert!(book.addresses(&first).len() <= limits::NET_HINTS_MAX);
    }
}
