//! Who shall hold a pin.
//!
//! A peer can take a new copy when it is up, does not drain, and has a valid value of every metric
//! in `allocate_by`, and room for it beside what is promised to others. Whoever holds the pin already and is up and stays counts, whatever its
//! metrics. The user's peers come first, then the present holders in their order, then the best of
//! the others until there are `max`; fewer than `min` in all is an error and nothing changes.
//!
//! The best are chosen over nested partitions (`spread`): one level per metric of `allocate_by`,
//! peers of an equal value of a partitionable metric (a tag) in one partition. Each copy goes where
//! the fewest copies are already, then where most room is; equal peers are ordered by a hash of
//! peer and CID, so that they share evenly and every leader answers the same.

mod candidates;
mod spread;
#[cfg(test)]
mod tests;

pub use candidates::{Candidate, CandidateView, FREE_SPACE, Promised, Standing, Weighed};

use crate::{
    id::{Cid, PeerId},
    pin::Replication,
};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct PlacementRequest<'a> {
    /// Of what: salts the order of equal peers.
    pub cid: &'a Cid,
    /// How many copies.
    pub replication: Replication,
    /// Whom the user wants, first come first.
    pub user_allocations: &'a [PeerId],
    /// Who is allocated now.
    pub current: &'a [PeerId],
    /// Whom to leave out, present holders too.
    pub excluded: &'a [PeerId],
}

/// Why a pin cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Too few peers can take it.
    #[error(
        "not enough peers to allocate CID. Needed at least: {needed}. Wanted at most: {wanted}. Available candidates: {available}. See logs for more info."
    )]
    NotEnoughPeers {
        /// Copies lacking to the lower factor.
        needed: usize,
        /// Copies lacking to the upper factor.
        wanted: usize,
        /// Peers that could take one.
        available: usize,
    },
}

/// Chooses who shall hold a pin, in order of choice; nobody by name when everywhere.
pub fn place(
    request: &PlacementRequest<'_>,
    view: &CandidateView,
) -> Result<Vec<PeerId>, PlacementError> {
    let Replication::Factor { min, max } = request.replication else {
        return Ok(Vec::new());
    };
    let (min, max) = (as_usize(min), as_usize(max));
    let stays = |peer: &&PeerId| view.stays(peer) && !request.excluded.contains(peer);
    let kept = distinct(request.current.iter().filter(stays), &[]);
    let takes = |peer: &PeerId| {
        view.takes(peer) && !request.excluded.contains(peer) && !kept.contains(peer)
    };
    let available = view.candidates().filter(|c| takes(&c.peer)).count();
    if kept.len() + available < min {
        return Err(PlacementError::NotEnoughPeers {
            needed: min - kept.len(),
            wanted: max.saturating_sub(kept.len()),
            available,
        });
    }
    let users = request.user_allocations.iter();
    let mut chosen = distinct(users.filter(|peer| kept.contains(peer) || takes(peer)), &[]);
    chosen.extend(distinct(kept.iter(), &chosen));
    chosen.truncate(max);
    let lacking = max - chosen.len();
    chosen.extend(more(request, &chosen, lacking, view));
    Ok(chosen)
}

/// The best `count` further peers beside those that have it (whatever their standing).
pub(crate) fn more(
    request: &PlacementRequest<'_>,
    taken: &[PeerId],
    count: usize,
    view: &CandidateView,
) -> Vec<PeerId> {
    let free = |peer: &&PeerId| {
        view.takes(peer) && !request.excluded.contains(peer) && !taken.contains(peer)
    };
    let mut chosen = distinct(request.user_allocations.iter().filter(free), &[]);
    chosen.truncate(count);
    if chosen.len() < count {
        let lacking = count - chosen.len();
        let all = [taken, &chosen[..]].concat();
        let open = |peer: &PeerId| free(&peer) && !chosen.contains(peer);
        let best = spread::best(view, request.cid, &all, &open, lacking);
        chosen.extend(best);
    }
    chosen
}

/// Each peer once, in order, without the `others`.
fn distinct<'a>(peers: impl Iterator<Item = &'a PeerId>, others: &[PeerId]) -> Vec<PeerId> {
    let mut found: Vec<PeerId> = Vec::new();
    for peer in peers {
        if !found.contains(peer) && !others.contains(peer) {
            found.push(peer.clone());
        }
    }
    found
}

fn as_usize(factor: u32) -> usize {
    usize::try_from(factor).unwrap_or(usize::MAX)
}
