//! Lists of statuses, page by page. A filter that few pins pass is answered from bitmaps: those of
//! the tables for phases, those of the state for peers that are cut off and for pins that a table
//! does not know of yet. Only what they name is read from the state.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use ipfs_cluster_protocol::{
    api::status::{GlobalPinInfo, StatusFilter, TrackerStatus},
    id::{PeerId, Seq},
    limits::LIST_PAGE_PINS,
    pin::{Pin, PinPhase},
    state::{
        PinSet, StateRead, StoreError, System,
        query::{self, Page, Stored},
    },
    status::PhaseSet,
};

use super::{Cluster, error::ClusterError, shown::Roster};
use crate::status::StatusTables;

/// Phases that few pins are in, in a cluster that is well.
const FEW: [PinPhase; 7] = [
    PinPhase::PinQueued,
    PinPhase::Pinning,
    PinPhase::PinError,
    PinPhase::UnpinQueued,
    PinPhase::Unpinning,
    PinPhase::UnpinError,
    PinPhase::UnexpectedlyUnpinned,
];

/// Where pins that pass a filter are found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Where {
    /// Nearly every pin passes: all of them are looked at.
    Anywhere,
    /// Only these may pass.
    Among {
        /// In one of these phases at some peer.
        phases: PhaseSet,
        /// To be held by a peer that is cut off.
        cut_off: bool,
    },
}

impl Where {
    fn of(filter: StatusFilter) -> Self {
        let many = [
            TrackerStatus::Pinned,
            TrackerStatus::Remote,
            TrackerStatus::Sharded,
        ];
        if filter.is_all() || many.into_iter().any(|status| filter.contains(status)) {
            return Self::Anywhere;
        }
        let phases = FEW.into_iter().filter(|p| filter.contains((*p).into()));
        Self::Among {
            phases: phases.collect(),
            cut_off: filter.contains(TrackerStatus::ClusterError),
        }
    }
}

impl Cluster {
    /// The status of every pin; with a filter, only peers and pins that match.
    pub fn status_all(
        &self,
        filter: StatusFilter,
        local: bool,
    ) -> BoxStream<'static, Result<GlobalPinInfo, ClusterError>> {
        let listing = Listing {
            cluster: self.clone(),
            filter,
            found: Where::of(filter),
            local,
        };
        let start = Some((listing, Seq(0)));
        stream::try_unfold(start, |next| async move {
            let Some((listing, from)) = next else {
                return Ok::<_, ClusterError>(None);
            };
            let page = listing.page(from).await?;
            let more = page.next.map(|from| (listing, from));
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), more)))
        })
        .try_flatten()
        .boxed()
    }
}

/// A list under way. It holds nothing of the state between two pages.
struct Listing {
    cluster: Cluster,
    filter: StatusFilter,
    found: Where,
    local: bool,
}

impl Listing {
    async fn page(&self, from: Seq) -> Result<Page<GlobalPinInfo>, ClusterError> {
        let roster = Roster {
            tells_sharded: true,
            ..self.cluster.roster(self.local).await?
        };
        let (found, tables) = (self.found.clone(), self.cluster.0.tables.clone());
        let (roster, pins) = self
            .cluster
            .read(move |state| {
                let pins = candidates(state, &tables, &found, &roster, (from, LIST_PAGE_PINS))?;
                Ok((roster, pins))
            })
            .await?;
        let infos = self.cluster.0.tables.look(|look| {
            let infos = pins.items.iter().map(|pin| roster.pin(pin, look));
            infos.collect::<Vec<_>>()
        });
        let items = infos
            .into_iter()
            .filter_map(|info| passing(self.filter, info));
        Ok(Page {
            items: items.collect(),
            next: pins.next,
        })
    }
}

/// What is shown of a pin, if anything passes.
fn passing(filter: StatusFilter, mut info: GlobalPinInfo) -> Option<GlobalPinInfo> {
    if !filter.is_all() {
        info.peer_map
            .retain(|_, short| filter.contains(short.status));
    }
    (!info.peer_map.is_empty()).then_some(info)
}

/// Pins that may pass, from a seq on, so many at most.
fn candidates(
    state: &dyn StateRead,
    tables: &StatusTables,
    found: &Where,
    roster: &Roster,
    (from, limit): (Seq, usize),
) -> Result<Page<Pin>, StoreError> {
    let all = || query::pins(state, from, limit, &|_| true);
    let Where::Among { phases, cut_off } = found else {
        return all();
    };
    let queued = phases.contains(&PinPhase::PinQueued);
    if queued && !is_abreast(state, tables, roster)? {
        // What has changed since a table's `as_of` is queued there, and no bitmap tells which.
        return all();
    }
    let peers = || roster.peers.iter().map(|shown| &shown.peer);
    let in_phase = tables.look(|look| look.page(peers(), phases, from, limit));
    let mut seqs: BTreeSet<Seq> = in_phase.into_iter().collect();
    for shown in &roster.peers {
        let sets = [PinSet::Allocated(shown.no), PinSet::Everywhere];
        let page = if shown.lapsed && *cut_off {
            query::seqs_in_any(state, &sets, from, limit)?
        } else if queued {
            let known = |block| tables.look(|look| look.known(&shown.peer, block));
            query::seqs_without(state, &sets, &known, from, limit)?
        } else {
            continue;
        };
        seqs.extend(page.items);
    }
    // Each source gave its first ones, so the first ones of all are among them.
    let seqs: Vec<Seq> = seqs.into_iter().take(limit).collect();
    let next = seqs.last().filter(|_| seqs.len() == limit);
    let next = next.map(|last| last.next());
    let pins = query::stored_many(state, &seqs)?.into_iter();
    Ok(Page {
        items: pins.filter_map(Stored::live).collect(),
        next,
    })
}

/// Whether every table has seen all of the state.
fn is_abreast(
    state: &dyn StateRead,
    tables: &StatusTables,
    roster: &Roster,
) -> Result<bool, StoreError> {
    let rev = System::load(state)?.rev;
    let behind = |peer: &PeerId| tables.look(|look| look.as_of(peer)) < rev;
    Ok(!roster.peers.iter().any(|shown| behind(&shown.peer)))
}

#[cfg(test)]
mod tests;
