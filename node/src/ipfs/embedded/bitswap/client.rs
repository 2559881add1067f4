//! What this node wants and whom it asks. Pure: calls change the state and return what to send.
//!
//! The first block of a session is asked for with *have* at every peer; who has it is asked for the
//! block and becomes a source of the session. Further blocks go straight to the source that has the
//! least to do, and to the others when it says no, is silent, or leaves. Once even that one has much to
//! do, the peers that are no source yet are asked whether they have the block too, and take over where
//! they have less to do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ipfs_cluster_protocol::id::{Cid, PeerId};
use tokio::sync::oneshot;

use super::{
    super::StoreError,
    FetchError,
    message::{Entry, WantKind},
};

/// A source with so many blocks to send has much to do.
const MUCH: usize = 8;

/// Whom to send what.
pub(super) type Ask = (PeerId, Entry);
/// A block that came.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) data: Bytes,
    /// Why it is not in the store.
    pub(super) unkept: Option<StoreError>,
}

/// Who waits for a block.
pub(super) type Waiter = oneshot::Sender<Result<Arrived, FetchError>>;

/// Blocks that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(u64);

/// What a peer was asked about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Have,
    Block,
    /// It said that it has not got it.
    Lacks,
}

#[derive(Debug)]
struct Want {
    waiters: Vec<Waiter>,
    session: SessionId,
    asked: BTreeMap<PeerId, Asked>,
    /// Said that they have it and were not asked for it yet.
    has: VecDeque<PeerId>,
    /// Who is to send it.
    current: Option<PeerId>,
}

/// The state.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Connected peers, and how many blocks each is to send.
    peers: BTreeMap<PeerId, usize>,
    wants: BTreeMap<Cid, Want>,
    /// Peers known to have blocks of a session.
    sessions: BTreeMap<SessionId, BTreeSet<PeerId>>,
    sessions_made: u64,
}

fn want(cid: Cid, kind: WantKind) -> Entry {
    Entry::Want {
        cid,
        kind,
        dont_have: true,
    }
}

impl Client {
    pub(super) fn open_session(&mut self) -> SessionId {
        self.sessions_made += 1;
        let id = SessionId(self.sessions_made);
        self.sessions.insert(id, BTreeSet::new());
        id
    }

    pub(super) fn close_session(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    pub(super) fn connected(&mut self, peer: &PeerId) -> Vec<Ask> {
        self.peers.entry(peer.clone()).or_insert(0);
        let mut asks = vec![];
        for (cid, want_) in &mut self.wants {
            want_.asked.insert(peer.clone(), Asked::Have);
            asks.push((peer.clone(), want(*cid, WantKind::Have)));
        }
        asks
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) -> Vec<Ask> {
        self.peers.remove(peer);
        for sources in self.sessions.values_mut() {
            sources.remove(peer);
        }
        let mut orphans = vec![];
        for (cid, want) in &mut self.wants {
            want.asked.remove(peer);
            want.has.retain(|p| p != peer);
            if want.current.as_ref() == Some(peer) {
                want.current = None;
                orphans.push(*cid);
            }
        }
        orphans.into_iter().flat_map(|c| self.next(&c)).collect()
    }

    /// Wants a block; `waiter` gets it.
    pub(super) fn want(&mut self, cid: Cid, session: SessionId, waiter: Waiter) -> Vec<Ask> {
        if let Some(want) = self.wants.get_mut(&cid) {
            want.waiters.push(waiter);
            return vec![];
        }
        let want = Want {
            waiters: vec![waiter],
            session,
            asked: BTreeMap::new(),
            has: VecDeque::new(),
            current: None,
        };
        self.wants.insert(cid, want);
        self.next(&cid)
    }

    pub(super) fn is_wanted(&self, cid: &Cid) -> bool {
        self.wants.contains_key(cid)
    }

    /// A waiter gave up. The want ends with its last one.
    pub(super) fn given_up(&mut self, cid: &Cid) -> Vec<Ask> {
        let Some(want) = self.wants.get_mut(cid) else {
            return vec![];
        };
        want.waiters.retain(|w| !w.is_closed());
        match want.waiters.is_empty() {
            true => self.end(cid, None).1,
            false => vec![],
        }
    }

    /// A peer has a block.
    pub(super) fn has(&mut self, peer: &PeerId, cid: &Cid) -> Vec<Ask> {
        let Some(want_) = self.wants.get_mut(cid) else {
            return vec![];
        };
        if !self.peers.contains_key(peer) || want_.asked.get(peer) == Some(&Asked::Block) {
            return vec![];
        }
        if let Some(sources) = self.sessions.get_mut(&want_.session) {
            sources.insert(peer.clone());
        }
        if let Some(current) = want_.current.clone() {
            if !want_.has.contains(peer) {
                want_.has.push_back(peer.clone());
            }
            return self.relieve(&current, peer, cid);
        }
        vec![self.ask_for(peer.clone(), cid)]
    }

    fn load(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).copied().unwrap_or(usize::MAX)
    }

    /// Has a block sent by `by` instead of `busy`, if that has more to do.
    fn relieve(&mut self, busy: &PeerId, by: &PeerId, cid: &Cid) -> Vec<Ask> {
        if self.load(busy) <= self.load(by).saturating_add(1) {
            return vec![];
        }
        release(&mut self.peers, busy);
        if let Some(want) = self.wants.get_mut(cid) {
            want.asked.insert(busy.clone(), Asked::Have);
            want.has.push_back(busy.clone());
        }
        let cancel = (busy.clone(), Entry::Cancel(*cid));
        vec![cancel, self.ask_for(by.clone(), cid)]
    }

    /// A peer has not got a block.
    pub(super) fn lacks(&mut self, peer: &PeerId, cid: &Cid) -> Vec<Ask> {
        let Some(want) = self.wants.get_mut(cid) else {
            return vec![];
        };
        want.has.retain(|p| p != peer);
        if let Some(asked) = want.asked.get_mut(peer) {
            *asked = Asked::Lacks;
        }
        match want.current.as_ref() == Some(peer) {
            true => self.next(cid),
            false => vec![],
        }
    }

    /// A block did not come for a while: another source, and everybody is asked anew.
    pub(super) fn stalled(&mut self, cid: &Cid) -> Vec<Ask> {
        let Some(want_) = self.wants.get_mut(cid) else {
            return vec![];
        };
        let slow = want_.current.clone();
        want_.asked.retain(|_, asked| *asked == Asked::Block);
        let mut asks: Vec<Ask> = vec![];
        for peer in self.peers.keys().filter(|p| Some(*p) != slow.as_ref()) {
            want_.asked.insert(peer.clone(), Asked::Have);
            asks.push((peer.clone(), want(*cid, WantKind::Have)));
        }
        match slow {
            // It may be on its way, or the asking was lost.
            Some(slow) if want_.has.is_empty() => asks.push((slow, want(*cid, WantKind::Block))),
            _ => asks.extend(self.next(cid)),
        }
        asks
    }

    /// A block is here, or cannot be had: who waits for it, and whom to tell that it is not wanted
    /// any more (`from` knows).
    pub(super) fn end(&mut self, cid: &Cid, from: Option<&PeerId>) -> (Vec<Waiter>, Vec<Ask>) {
        let Some(want) = self.wants.remove(cid) else {
            return (vec![], vec![]);
        };
        if let Some(current) = &want.current {
            release(&mut self.peers, current);
        }
        if let (Some(from), Some(sources)) = (from, self.sessions.get_mut(&want.session)) {
            sources.insert(from.clone());
        }
        let others = want.asked.into_keys().filter(|p| Some(p) != from);
        let cancels = others.map(|p| (p, Entry::Cancel(*cid))).collect();
        (want.waiters, cancels)
    }

    /// Chooses who is to send a block: who said it has it, else an untried source of the session,
    /// else whoever answers.
    fn next(&mut self, cid: &Cid) -> Vec<Ask> {
        let Some(want_) = self.wants.get_mut(cid) else {
            return vec![];
        };
        if let Some(current) = want_.current.take() {
            release(&mut self.peers, &current);
        }
        let load = |p: &&PeerId| self.peers.get(*p).copied().unwrap_or(usize::MAX);
        let sources = self.sessions.get(&want_.session);
        let untried =
            |p: &&PeerId| !matches!(want_.asked.get(*p), Some(Asked::Block | Asked::Lacks));
        let known = want_.has.iter().min_by_key(load);
        let source = known.or_else(|| sources?.iter().filter(untried).min_by_key(load));
        let source = source.cloned();
        let is_source = |p: &PeerId| sources.is_some_and(|sources| sources.contains(p));
        let mut asks = vec![];
        if source.as_ref().is_none_or(|peer| load(&peer) >= MUCH) {
            // With a source there is, whoever is one already need not be asked.
            let known = |p: &PeerId| source.is_some() && is_source(p);
            for peer in self.peers.keys().filter(|p| !known(p)) {
                if !want_.asked.contains_key(peer) {
                    want_.asked.insert(peer.clone(), Asked::Have);
                    asks.push((peer.clone(), want(*cid, WantKind::Have)));
                }
            }
        }
        if let Some(peer) = source {
            asks.push(self.ask_for(peer, cid));
        }
        asks
    }

    fn ask_for(&mut self, peer: PeerId, cid: &Cid) -> Ask {
        if let Some(want) = self.wants.get_mut(cid) {
            want.has.retain(|p| *p != peer);
            want.asked.insert(peer.clone(), Asked::Block);
            want.current = Some(peer.clone());
        }
        if let Some(load) = self.peers.get_mut(&peer) {
            *load += 1;
        }
        (peer, want(*cid, WantKind::Block))
    }

    /// Fails every want.
    pub(super) fn close(&mut self) -> Vec<Waiter> {
        let wants = std::mem::take(&mut self.wants);
        wants.into_values().flat_map(|w| w.waiters).collect()
    }
}

fn release(peers: &mut BTreeMap<PeerId, usize>, peer: &PeerId) {
    if let Some(load) = peers.get_mut(peer) {
        *load = load.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::content::{RAW, hash::name_like};

    use super::*;

    fn cid(n: u8) -> Cid {
        name_like(1, RAW, 0x12, 32, &[n]).unwrap()
    }

    fn peer(n: u8) -> PeerId {
        let hash = name_like(1, RAW, 0x12, 32, &[n, 1]).unwrap();
        PeerId::from_bytes(&hash.0.hash().to_bytes()).unwrap()
    }

    fn client(peers: u8) -> (Client, SessionId) {
        let mut client = Client::default();
        for n in 0..peers {
            assert_eq!(client.connected(&peer(n)), []);
        }
        let session = client.open_session();
        (client, session)
    }

    fn wanted(client: &mut Client, n: u8, session: SessionId) -> Vec<Ask> {
        let (waiter, _) = oneshot::channel();
        let mut asks = client.want(cid(n), session, waiter);
        asks.sort_by(|a, b| a.0.cmp(&b.0));
        asks
    }

    fn block(p: u8, n: u8) -> Ask {
        (peer(p), want(cid(n), WantKind::Block))
    }

    fn have(p: u8, n: u8) -> Ask {
        (peer(p), want(cid(n), WantKind::Have))
    }

    #[test]
    fn everybody_is_asked_first_and_who_has_it_sends_it() {
        let (mut client, session) = client(3);
        let asks = wanted(&mut client, 1, session);
        assert_eq!(asks.len(), 3);
        assert!((0..3).all(|p| asks.contains(&have(p, 1))));
        assert_eq!(client.lacks(&peer(0), &cid(1)), []);
        assert_eq!(client.has(&peer(1), &cid(1)), [block(1, 1)]);
        assert_eq!(client.has(&peer(2), &cid(1)), [], "one sends it");
        let (waiters, cancels) = client.end(&cid(1), Some(&peer(1)));
        assert_eq!(waiters.len(), 1);
        assert_eq!(cancels.len(), 2);
        assert!(!cancels.iter().any(|(p, _)| *p == peer(1)));
    }

    #[test]
    fn blocks_of_a_session_are_spread_over_its_sources() {
        let (mut client, session) = client(3);
        wanted(&mut client, 0, session);
        client.has(&peer(0), &cid(0));
        client.has(&peer(1), &cid(0));
        client.end(&cid(0), Some(&peer(0)));
        let mut to = BTreeMap::new();
        for n in 1..=10 {
            for (peer, _) in wanted(&mut client, n, session) {
                *to.entry(peer).or_insert(0) += 1;
            }
        }
        assert_eq!(to, BTreeMap::from([(peer(0), 5), (peer(1), 5)]));
    }

    #[test]
    fn a_source_with_much_to_do_is_relieved_by_those_that_have_less() {
        let (mut client, session) = client(2);
        wanted(&mut client, 0, session);
        client.has(&peer(0), &cid(0));
        client.end(&cid(0), Some(&peer(0)));
        for n in 1..=20 {
            let asks = wanted(&mut client, n, session);
            assert!(asks.contains(&block(0, n)));
            assert_eq!(asks.contains(&have(1, n)), usize::from(n) > MUCH, "{n}");
        }
        let mut moved = 0;
        for n in 1..=20 {
            let asks = client.has(&peer(1), &cid(n));
            if !asks.is_empty() {
                assert_eq!(asks, [(peer(0), Entry::Cancel(cid(n))), block(1, n)]);
                moved += 1;
            }
        }
        assert_eq!(moved, 10);
        // The one that was relieved is asked again when the other leaves.
        let again = client.disconnected(&peer(1));
        assert_eq!(again.len(), 10);
        assert!(again.iter().all(|(p, _)| *p == peer(0)));
    }

    #[test]
    fn a_source_that_says_no_or_leaves_is_replaced() {
        let (mut client, session) = client(3);
        wanted(&mut client, 1, session);
        client.has(&peer(0), &cid(1));
        client.has(&peer(1), &cid(1));
        client.has(&peer(2), &cid(1));
        let next = client.lacks(&peer(0), &cid(1));
        assert_eq!(next.len(), 1);
        let second = next[0].0.clone();
        let third = client.disconnected(&second);
        assert_eq!(third.len(), 1);
        assert_ne!(third[0].0, second);
        assert_eq!(
            client.disconnected(&third[0].0),
            [],
            "nobody is left to ask"
        );
        assert!(client.is_wanted(&cid(1)));
    }

    #[test]
    fn a_peer_that_connects_later_is_asked() {
        let (mut client, session) = client(0);
        assert_eq!(wanted(&mut client, 1, session), []);
        assert_eq!(client.connected(&peer(7)), [have(7, 1)]);
        assert_eq!(client.has(&peer(7), &cid(1)), [block(7, 1)]);
    }

    #[test]
    fn a_stalled_block_goes_to_another_source_or_is_asked_for_again() {
        let (mut client, session) = client(2);
        wanted(&mut client, 1, session);
        client.has(&peer(0), &cid(1));
        assert_eq!(client.stalled(&cid(1)), [have(1, 1), block(0, 1)]);
        assert_eq!(client.has(&peer(1), &cid(1)), []);
        assert!(client.stalled(&cid(1)).contains(&block(1, 1)));
    }

    #[test]
    fn the_last_waiter_to_give_up_ends_the_want() {
        let (mut client, session) = client(1);
        let (tx, rx) = oneshot::channel();
        client.want(cid(1), session, tx);
        let (tx, rx2) = oneshot::channel();
        assert_eq!(client.want(cid(1), session, tx), []);
        drop(rx);
        assert_eq!(client.given_up(&cid(1)), []);
        drop(rx2);
        assert_eq!(client.given_up(&cid(1)), [(peer(0), Entry::Cancel(cid(1)))]);
        assert!(!client.is_wanted(&cid(1)));
    }

    #[test]
    fn answers_to_what_was_not_asked_are_ignored() {
        let (mut client, _) = client(1);
        assert_eq!(client.has(&peer(0), &cid(9)), []);
        assert_eq!(client.lacks(&peer(0), &cid(9)), []);
        assert_eq!(client.stalled(&cid(9)), []);
        assert!(client.end(&cid(9), Some(&peer(0))).0.is_empty());
    }
}
