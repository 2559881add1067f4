//! What a placement of this moment knows of the peers.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::{
    id::PeerId,
    pin::PinSpec,
    placement::{CandidateView, PlacementRequest, Promised, Standing, place},
    rpc::Refusal,
    state::{Member, query},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Leader;
use crate::cluster::ClusterError;

/// By then the room a pin takes shows in its peer's metrics.
const SETTLED: Duration = Duration::from_secs(30);

/// Room promised to pins that may not have landed yet, so that a burst between two metrics does
/// not all go to the emptiest peer.
#[derive(Debug, Default)]
pub(super) struct Reservations(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: BTreeMap<PeerId, Promised>,
    old: BTreeMap<PeerId, Promised>,
    turned: Option<Instant>,
}

impl Reservations {
    fn add(&self, peers: &[PeerId], room: Promised) {
        let mut generations = self.0.lock();
        generations.turn();
        for peer in peers {
            let promised = generations.young.entry(peer.clone()).or_default();
            *promised = promised.and(room);
        }
    }

    fn of(&self, peer: &PeerId) -> Promised {
        let mut generations = self.0.lock();
        generations.turn();
        let both = [&generations.young, &generations.old];
        let found = both.into_iter().filter_map(|of| of.get(peer));
        found.fold(Promised::default(), |all, room| all.and(*room))
    }
}

impl Generations {
    fn turn(&mut self) {
        let now = Instant::now();
        let turned = *self.turned.get_or_insert(now);
        let age = now.saturating_duration_since(turned);
        if age < SETTLED {
            return;
        }
        let young = std::mem::take(&mut self.young);
        self.old = if age < 2 * SETTLED {
            young
        } else {
            BTreeMap::new()
        };
        self.turned = Some(now);
    }
}

impl Leader {
    /// All members with their standing, metrics and promised room.
    pub(crate) async fn candidates(&self) -> Result<CandidateView, Refusal> {
        let members = self.read(query::members).await?;
        Ok(self.candidates_of(members))
    }

    /// The same of members that were read already.
    pub(super) fn candidates_of(&self, members: Vec<Member>) -> CandidateView {
        let names = &self.0.settings.allocate_by;
        let lapsed = self.0.monitor.lapsed();
        let mut view = CandidateView::new(names.clone());
        for member in members {
            let peer = member.peer;
            let standing = if member.down_since.is_some() || lapsed.contains(&peer) {
                Standing::Down
            } else if member.draining {
                Standing::Draining
            } else {
                Standing::Up
            };
            let promised = self.0.reservations.of(&peer);
            let metrics: Vec<_> = names
                .iter()
                .map(|name| (name, self.0.monitor.fresh(name, &peer)))
                .collect();
            view.add(peer, standing, promised, |wanted| {
                let (_, metric) = metrics.iter().find(|(name, _)| *name == wanted)?;
                metric.as_ref()
            });
        }
        view
    }

    /// Promises room at these peers to a pin of so many bytes; 0: nobody knows.
    pub(crate) fn reserve(&self, peers: &[PeerId], size: u64) {
        self.0.reservations.add(peers, Promised::to(size));
    }

    /// Who shall hold content that is about to be added, of so many bytes.
    pub(crate) async fn place_new(
        &self,
        spec: &PinSpec,
        bytes: u64,
    ) -> Result<Vec<PeerId>, ClusterError> {
        let view = self.candidates().await?.needing(bytes);
        let request = PlacementRequest {
            cid: &spec.cid,
            replication: spec.replication,
            user_allocations: &spec.user_allocations,
            current: &[],
            excluded: &[],
        };
        let chosen = place(&request, &view).map_err(|e| ClusterError::Invalid(e.to_string()))?;
        self.reserve(&chosen, bytes);
        Ok(chosen)
    }
}
