//! What other peers want, and what they are answered. Pure: calls return answers to send.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    id::{Cid, PeerId},
    limits::BITSWAP_WANTS_PER_PEER_MAX,
};

use super::message::{Entry, WantKind};

/// A block up to this length is sent instead of saying that it is there, as Kubo does.
const SENT_AT_ONCE: u64 = 1024;

/// What a peer is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The block; read when it is sent.
    Block,
    Have,
    Lacks,
}

/// What a peer wants of a block that is not here yet.
#[derive(Debug, Clone, Copy)]
struct Want {
    kind: WantKind,
    dont_have: bool,
}

/// The wantlists of all peers.
#[derive(Debug, Default)]
pub(super) struct Server {
    peers: BTreeMap<PeerId, BTreeMap<Cid, Want>>,
}

impl Server {
    pub(super) fn connected(&mut self, peer: &PeerId) {
        self.peers.entry(peer.clone()).or_default();
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// Takes a wantlist; says which blocks to look for.
    pub(super) fn wantlist(&mut self, peer: &PeerId, entries: &[Entry], full: bool) -> Vec<Cid> {
        let Some(wants) = self.peers.get_mut(peer) else {
            return vec![];
        };
        if full {
            wants.clear();
        }
        let mut look_for = vec![];
        for entry in entries {
            match *entry {
                Entry::Cancel(cid) => {
                    wants.remove(&cid);
                }
                Entry::Want {
                    cid,
                    kind,
                    dont_have,
                } => {
                    let room = wants.len() < BITSWAP_WANTS_PER_PEER_MAX;
                    if room || wants.contains_key(&cid) {
                        wants.insert(cid, Want { kind, dont_have });
                        look_for.push(cid);
                    }
                }
            }
        }
        look_for
    }

    /// The outcome of looking for a block: what the peer is answered now.
    pub(super) fn looked(&mut self, peer: &PeerId, cid: &Cid, len: Option<u64>) -> Option<Answer> {
        let wants = self.peers.get_mut(peer)?;
        match len {
            Some(len) => wants.remove(cid).map(|want| answer(want, len)),
            None => wants.get(cid)?.dont_have.then_some(Answer::Lacks),
        }
    }

    /// A block came: who is answered what.
    pub(super) fn stored(&mut self, cid: &Cid, len: u64) -> Vec<(PeerId, Answer)> {
        let mut answers = vec![];
        for (peer, wants) in &mut self.peers {
            let want = wants.remove(cid);
            answers.extend(want.map(|w| (peer.clone(), answer(w, len))));
        }
        answers
    }

    /// Forgets all peers.
    pub(super) fn close(&mut self) {
        self.peers.clear();
    }
}

fn answer(want: Want, len: u64) -> Answer {
    match want.kind {
        WantKind::Have if len > SENT_AT_ONCE => Answer::Have,
        WantKind::Have | WantKind::Block => Answer::Block,
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::content::{RAW, hash::name_like};

    use super::*;

    fn cid(n: u32) -> Cid {
        name_like(1, RAW, 0x12, 32, &n.to_be_bytes()).unwrap()
    }

    fn peer(n: u32) -> PeerId {
        PeerId::from_bytes(&cid(n).0.hash().to_bytes()).unwrap()
    }

    fn want(n: u32, kind: WantKind) -> Entry {
        Entry::Want {
            cid: cid(n),
            kind,
            dont_have: true,
        }
    }

    #[test]
    fn what_is_here_is_answered_and_forgotten() {
        let mut server = Server::default();
        let me = peer(0);
        server.connected(&me);
        let entries = [
            want(1, WantKind::Block),
            want(2, WantKind::Have),
            want(3, WantKind::Have),
        ];
        assert_eq!(
            server.wantlist(&me, &entries, false),
            [cid(1), cid(2), cid(3)]
        );
        assert_eq!(server.looked(&me, &cid(1), Some(9999)), Some(Answer::Block));
        assert_eq!(server.looked(&me, &cid(2), Some(1025)), Some(Answer::Have));
        assert_eq!(server.looked(&me, &cid(3), Some(1024)), Some(Answer::Block));
        assert_eq!(server.stored(&cid(1), 9999), []);
    }

    #[test]
    fn what_comes_later_is_sent_then_unless_cancelled() {
        let mut server = Server::default();
        for p in 0..2 {
            server.connected(&peer(p));
            server.wantlist(&peer(p), &[want(1, WantKind::Block)], false);
            assert_eq!(server.looked(&peer(p), &cid(1), None), Some(Answer::Lacks));
        }
        server.wantlist(&peer(0), &[Entry::Cancel(cid(1))], false);
        assert_eq!(server.stored(&cid(1), 5), [(peer(1), Answer::Block)]);
        server.wantlist(&peer(1), &[want(2, WantKind::Block)], false);
        server.wantlist(&peer(1), &[], true);
        assert_eq!(server.stored(&cid(2), 5), [], "a full list replaces");
        server.disconnected(&peer(1));
        assert_eq!(
            server.wantlist(&peer(1), &[want(3, WantKind::Block)], false),
            []
        );
    }

    #[test]
    fn a_wantlist_is_bounded() {
        let mut server = Server::default();
        server.connected(&peer(0));
        let bound = u32::try_from(BITSWAP_WANTS_PER_PEER_MAX).unwrap();
        let many: Vec<_> = (0..bound + 5).map(|n| want(n, WantKind::Block)).collect();
        assert_eq!(
            server.wantlist(&peer(0), &many, false).len(),
            BITSWAP_WANTS_PER_PEER_MAX
        );
        assert_eq!(
            server.wantlist(&peer(0), &many[..1], false).len(),
            1,
            "a known one may change"
        );
    }
}
