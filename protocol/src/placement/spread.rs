//! The best peers over nested partitions.
//!
//! ```text
//!  allocate_by = [tag:zone, freespace]        copies so far: one on P1
//!
//!  tag:zone   a (1 copy)        b (0 copies)      the next copy goes to b,
//!  freespace  P1 9 GB  P2 5 GB  P3 2 GB  P4 7 GB  there to P4: fewest copies, most room
//! ```

use std::{cmp::Reverse, collections::BTreeMap};

use super::candidates::{Candidate, CandidateView};
use crate::{
    id::{Cid, PeerId},
    mix::Mix,
};

/// Orders partitions: smaller is better.
type Rank<'a> = (Reverse<i128>, Reverse<i128>, u64, &'a [u8]);

/// Peers of equal value at one level, and their partitions at the next.
struct Partition<'a> {
    rank: Rank<'a>,
    /// Weight of it and of all below.
    total: i128,
    /// Copies on its peers.
    copies: usize,
    /// Peers that can still take one.
    open: usize,
    below: Below<'a>,
}

enum Below<'a> {
    Peer(&'a PeerId),
    Partitions(Vec<Partition<'a>>),
}

/// Chooses up to `count` of the peers that are `open`, given who has a copy already.
pub(super) fn best(
    view: &CandidateView,
    cid: &Cid,
    taken: &[PeerId],
    open: &dyn Fn(&PeerId) -> bool,
    count: usize,
) -> Vec<PeerId> {
    let tree = Tree {
        view,
        cid: cid.to_bytes(),
        taken,
        open,
    };
    let involved = |c: &&Candidate| taken.contains(&c.peer) || open(&c.peer);
    let mut root = tree.level(view.candidates().filter(involved).collect(), 0);
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let Some(peer) = next(&mut root) else { break };
        chosen.push(peer.clone());
    }
    chosen
}

struct Tree<'a> {
    view: &'a CandidateView,
    cid: Vec<u8>,
    taken: &'a [PeerId],
    open: &'a dyn Fn(&PeerId) -> bool,
}

impl<'a> Tree<'a> {
    /// The partitions of some peers from a level of `allocate_by` on.
    fn level(&self, peers: Vec<&'a Candidate>, level: usize) -> Vec<Partition<'a>> {
        if level == self.view.allocate_by().len() {
            return peers.into_iter().map(|c| self.leaf(c)).collect();
        }
        // Peers that cannot be split off by value are partitions of their own; a holder without
        // the metric is one of them.
        let mut groups: BTreeMap<(&str, Option<&PeerId>), Vec<&'a Candidate>> = BTreeMap::new();
        for candidate in peers {
            let metric = candidate.metrics.get(level).and_then(Option::as_ref);
            let value = metric.map_or("", |metric| metric.value.as_str());
            let grouped = metric.is_some_and(|metric| metric.partitionable);
            let alone = (!grouped).then_some(&candidate.peer);
            groups.entry((value, alone)).or_default().push(candidate);
        }
        let groups = groups.into_iter();
        groups
            .map(|((value, alone), peers)| {
                let name = alone.map_or(value.as_bytes(), PeerId::as_bytes);
                self.partition(name, peers, level)
            })
            .collect()
    }

    fn partition(&self, name: &'a [u8], peers: Vec<&'a Candidate>, level: usize) -> Partition<'a> {
        let weights = peers.iter().map(|c| self.view.weight(c, level));
        let weight = weights.flatten().max().unwrap_or(i128::MIN / (1 << 32));
        let below = self.level(peers, level + 1);
        let total = below
            .iter()
            .map(|p| p.total)
            .fold(weight, i128::saturating_add);
        Partition {
            rank: (Reverse(weight), Reverse(total), self.salt(name), name),
            total,
            copies: below.iter().map(|p| p.copies).sum(),
            open: below.iter().map(|p| p.open).sum(),
            below: Below::Partitions(below),
        }
    }

    fn leaf(&self, candidate: &'a Candidate) -> Partition<'a> {
        let name = candidate.peer.as_bytes();
        Partition {
            rank: (Reverse(0), Reverse(0), self.salt(name), name),
            total: 0,
            copies: usize::from(self.taken.contains(&candidate.peer)),
            open: usize::from((self.open)(&candidate.peer)),
            below: Below::Peer(&candidate.peer),
        }
    }

    /// Orders equals differently for each CID.
    fn salt(&self, name: &[u8]) -> u64 {
        let mut mix = Mix::new(0);
        mix.write(&self.cid);
        mix.write(name);
        mix.finish()
    }
}

/// Takes the next peer: of the partitions with one left, the one with the fewest copies.
fn next<'a>(partitions: &mut [Partition<'a>]) -> Option<&'a PeerId> {
    let open = partitions.iter_mut().filter(|p| p.open > 0);
    let partition = open.min_by(|a, b| (a.copies, a.rank).cmp(&(b.copies, b.rank)))?;
    let peer = match &mut partition.below {
        Below::Peer(peer) => *peer,
        Below::Partitions(below) => next(below)?,
    };
    partition.open -= 1;
    partition.copies += 1;
    Some(peer)
}
