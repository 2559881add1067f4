//! Who holds what, as last seen: what several properties are judged by.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    id::{Cid, PeerId, Rev},
    pin::Pin,
};

use crate::{
    observe::View,
    world::{HostId, Micros},
};

/// Within which an order to unpin has got to the slowest node: until then it may take away what a
/// new pin of the same CID asks for, which is pinned again then.
pub(super) const ORDER_US: Micros = 30_000_000;

/// What a node had at the last two looks: what it had at both is surely on its disk.
#[derive(Debug, Default)]
pub(super) struct Held {
    now: BTreeSet<Cid>,
    before: BTreeSet<Cid>,
}

impl Held {
    /// Takes a look; returns what the node had for a while, and has no more.
    pub(super) fn see(&mut self, now: &BTreeSet<Cid>) -> Vec<Cid> {
        let last = std::mem::replace(&mut self.now, now.clone());
        let before = std::mem::replace(&mut self.before, last);
        let long = self.before.intersection(&before);
        long.filter(|cid| !now.contains(*cid)).copied().collect()
    }

    /// Whether the node has it.
    pub(super) fn contains(&self, cid: &Cid) -> bool {
        self.now.contains(cid)
    }
}

/// CIDs that a state has pinned, the last change of each pin, and since when it was seen.
#[derive(Debug, Default)]
struct Pins(BTreeMap<Cid, (Rev, Micros)>);

impl Pins {
    fn see(&mut self, view: &View) {
        let before = std::mem::take(&mut self.0);
        let since = |pin: &Pin| {
            let same = before.get(&pin.spec.cid).filter(|(rev, _)| *rev == pin.rev);
            same.map_or(view.at, |(_, since)| *since)
        };
        let pins = view.pins.iter();
        self.0 = pins
            .map(|pin| (pin.spec.cid, (pin.rev, since(pin))))
            .collect();
    }

    /// The last change of a CID's pin if it is so old that every order from before it was carried
    /// out.
    fn old_rev_of(&self, cid: &Cid, now: Micros) -> Option<Rev> {
        let (rev, since) = self.0.get(cid)?;
        (since + ORDER_US < now).then_some(*rev)
    }
}

/// The IPFS nodes' pins, and the pins of the furthest state.
#[derive(Debug, Default)]
pub(super) struct Holders {
    held: BTreeMap<HostId, Held>,
    /// When each node was last looked at.
    looked: BTreeMap<HostId, Micros>,
    /// The last change of the state that was seen anywhere.
    pub(super) rev: Rev,
    pins: Pins,
    /// What each peer knows: one that was cut off carries out late what was ordered meanwhile.
    known: BTreeMap<HostId, Pins>,
}

impl Holders {
    /// Takes a look; returns what the node had for a while and has no more. A node that does not
    /// run keeps what it has.
    pub(super) fn see(&mut self, peer: HostId, view: &View) -> Vec<Cid> {
        if view.system.rev > self.rev {
            self.rev = view.system.rev;
            self.pins.see(view);
        }
        self.known.entry(peer).or_default().see(view);
        let Some(now) = &view.held else {
            return Vec::new();
        };
        self.looked.insert(peer, view.at);
        self.held.entry(peer).or_default().see(now)
    }

    /// How many of these nodes were not looked at since then: they may hold more by now, or when they
    /// run again, than they were seen to.
    pub(super) fn unseen_since(&self, nodes: &BTreeSet<HostId>, since: Micros) -> usize {
        let seen = |node: &HostId| self.looked.get(node).is_some_and(|at| *at >= since);
        nodes.iter().filter(|node| !seen(node)).count()
    }

    /// The last change of a CID's pin, if it is pinned.
    pub(super) fn rev_of(&self, cid: &Cid) -> Option<Rev> {
        Some(self.pins.0.get(cid)?.0)
    }

    /// The same if a peer has known it for so long that it has carried out every order from before.
    pub(super) fn old_rev_of(&self, cid: &Cid, peer: HostId, now: Micros) -> Option<Rev> {
        let rev = self.pins.old_rev_of(cid, now)?;
        let known = self.known.get(&peer)?.old_rev_of(cid, now);
        (known == Some(rev)).then_some(rev)
    }

    /// A disk was lost.
    pub(super) fn wipe(&mut self, peer: HostId) {
        self.held.remove(&peer);
    }

    /// How many of these peers hold it; of all when none are given.
    pub(super) fn count(&self, cid: &Cid, among: Option<&BTreeSet<HostId>>) -> usize {
        let counts = |peer: &HostId| among.is_none_or(|among| among.contains(peer));
        let holds = self
            .held
            .iter()
            .filter(|(peer, held)| counts(peer) && held.contains(cid));
        holds.count()
    }
}

/// The machines of peers.
#[derive(Debug, Clone, Default)]
pub(super) struct Machines(pub(super) BTreeMap<PeerId, HostId>);

impl Machines {
    /// Of these peers.
    pub(super) fn of(&self, peers: &[PeerId]) -> BTreeSet<HostId> {
        let machine = |peer| self.0.get(peer).copied();
        peers.iter().filter_map(machine).collect()
    }
}
