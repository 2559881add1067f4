//! What a placement of this moment knows of the peers.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::{
    id::PeerId,
    pin::PinSpec,
    placement::{CandidateView, PlacementRequest, Promised, Standing, place},
    rpc::Refusal,
    state::query,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Leader;

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

/// By when a view is looked at anew though nothing was heard: metrics run out and pings lapse with
/// time alone.
const VIEW_AGE_MAX: Duration = Duration::from_millis(20);

/// What the last placement knew of the peers: it serves those of the next moments, so that a
/// thousand pins a second do not look at every member's metrics a thousand times.
#[derive(Debug, Default)]
pub(super) struct LastView(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    view: CandidateView,
    of: Option<(Mark, Instant)>,
}

/// What a view follows from: versions of the members' rows and of what is heard of their health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    roster: u64,
    heard: u64,
}

impl LastView {
    fn is_of(&self, mark: Mark) -> bool {
        let of = self.0.lock().of;
        of.is_some_and(|(seen, at)| seen == mark && at.elapsed() < VIEW_AGE_MAX)
    }

    fn keep(&self, view: CandidateView, mark: Mark) {
        let of = Some((mark, Instant::now()));
        *self.0.lock() = Seen { view, of };
    }
}

impl Leader {
    /// All members with their standing, metrics and promised room.
    pub(crate) async fn candidates(&self) -> Result<CandidateView, Refusal> {
        let members = self.read(query::members).await?;
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
        Ok(view)
    }

    /// Promises room at these peers to a pin of so many bytes; 0: nobody knows.
    pub(crate) fn reserve(&self, peers: &[PeerId], size: u64) {
        self.0.reservations.add(peers, Promised::to(size));
    }

    /// Who shall hold a pin of so many bytes (0: nobody knows) that `current` hold now, as the metrics
    /// of this moment say. Room is promised to it at those that are new to it.
    pub(crate) async fn place(
        &self,
        spec: &PinSpec,
        current: &[PeerId],
        size: u64,
    ) -> Result<Vec<PeerId>, Refusal> {
        let mark = Mark {
            roster: self.0.consensus.roster_version(),
            heard: self.0.monitor.version(),
        };
        if !self.0.last_view.is_of(mark) {
            let view = self.candidates().await?;
            self.0.last_view.keep(view, mark);
        }
        let begun = std::time::Instant::now();
        let request = PlacementRequest {
            cid: &spec.cid,
            replication: spec.replication,
            user_allocations: &spec.user_allocations,
            current,
            excluded: &[],
        };
        let mut seen = self.0.last_view.0.lock();
        seen.view.renew(size, |peer| self.0.reservations.of(peer));
        let chosen = place(&request, &seen.view).map_err(|e| {
            tracing::info!(cid = %spec.cid, candidates = ?seen.view, "not placed: {e}");
            Refusal::Invalid(e.to_string())
        })?;
        let new = chosen.iter().filter(|peer| !current.contains(peer));
        let new: Vec<PeerId> = new.cloned().collect();
        self.reserve(&new, size);
        self.0.deciding.ran(begun);
        Ok(chosen)
    }
}
