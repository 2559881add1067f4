//! What a placement of this moment knows of the peers.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ipfs_cluster_protocol::{
    id::PeerId,
    pin::PinSpec,
    placement::{CandidateView, FREE_SPACE, PlacementRequest, Promised, Standing, place},
    rpc::Refusal,
    state::query,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Leader;

/// By then the room a pin takes shows in its peer's metrics, even where nobody knows how much it is.
const SETTLED: Duration = Duration::from_secs(60);
/// A metric that comes so long after a promise was made after the pin had come to its peer, which
/// takes what it is still to fetch from the room it tells of: counted here too, it would count twice.
const TOLD_AFTER: Duration = Duration::from_secs(5);
/// Promises of so long are one.
const GRAIN: Duration = Duration::from_secs(2);

/// Room promised to pins that may not have landed yet, so that a burst between two metrics does
/// not all go to the emptiest peer.
#[derive(Debug, Default)]
pub(super) struct Reservations(Mutex<BTreeMap<PeerId, VecDeque<Promise>>>);

/// What was promised from a moment on.
#[derive(Debug, Clone, Copy)]
struct Promise {
    from: Instant,
    room: Promised,
}

impl Reservations {
    fn add(&self, peers: &[PeerId], room: Promised) {
        let now = Instant::now();
        let mut all = self.0.lock();
        for peer in peers {
            let promises = all.entry(peer.clone()).or_default();
            promises.retain(|promise| now.duration_since(promise.from) < SETTLED);
            match promises.back_mut() {
                Some(last) if now.duration_since(last.from) < GRAIN => {
                    last.room = last.room.and(room);
                }
                _ => promises.push_back(Promise { from: now, room }),
            }
        }
    }

    /// What counts beside a metric of room that came at `told`. What nobody knows the size of is in no
    /// metric before it has landed.
    fn of(&self, peer: &PeerId, told: Option<Instant>) -> Promised {
        let now = Instant::now();
        let all = self.0.lock();
        let promises = all.get(peer).into_iter().flatten();
        let young = promises.filter(|promise| now.duration_since(promise.from) < SETTLED);
        young.fold(Promised::default(), |sum, promise| {
            let shows = told.is_some_and(|told| told >= promise.from + GRAIN + TOLD_AFTER);
            sum.and(Promised {
                known_bytes: if shows { 0 } else { promise.room.known_bytes },
                ..promise.room
            })
        })
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
    told: Told,
    of: Option<(Mark, Instant)>,
}

/// When the peers of a view told how much room they have.
type Told = BTreeMap<PeerId, Instant>;

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

    fn keep(&self, view: CandidateView, told: Told, mark: Mark) {
        let of = Some((mark, Instant::now()));
        *self.0.lock() = Seen { view, told, of };
    }
}

impl Leader {
    /// All members with their standing, metrics and promised room.
    pub(crate) async fn candidates(&self) -> Result<CandidateView, Refusal> {
        Ok(self.look().await?.0)
    }

    async fn look(&self) -> Result<(CandidateView, Told), Refusal> {
        let members = self.read(query::members).await?;
        let names = &self.0.settings.allocate_by;
        let lapsed = self.0.monitor.lapsed();
        let (mut view, mut told) = (CandidateView::new(names.clone()), Told::new());
        for member in members {
            let peer = member.peer;
            let standing = if member.down_since.is_some() || lapsed.contains(&peer) {
                Standing::Down
            } else if member.draining {
                Standing::Draining
            } else {
                Standing::Up
            };
            // The metric from which its peer takes what it is still to fetch.
            let arrived = self.0.monitor.arrived(FREE_SPACE, &peer);
            told.extend(arrived.map(|at| (peer.clone(), at)));
            let promised = self.0.reservations.of(&peer, arrived);
            let metrics: Vec<_> = names
                .iter()
                .map(|name| (name, self.0.monitor.fresh(name, &peer)))
                .collect();
            view.add(peer, standing, promised, |wanted| {
                let (_, metric) = metrics.iter().find(|(name, _)| *name == wanted)?;
                metric.as_ref()
            });
        }
        Ok((view, told))
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
            let (view, told) = self.look().await?;
            self.0.last_view.keep(view, told, mark);
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
        let Seen { view, told, .. } = &mut *seen;
        let promised = |peer: &PeerId| self.0.reservations.of(peer, told.get(peer).copied());
        view.renew(size, promised);
        let chosen = place(&request, view).map_err(|e| {
            tracing::info!(cid = %spec.cid, candidates = ?view, "not placed: {e}");
            Refusal::Invalid(e.to_string())
        })?;
        let new = chosen.iter().filter(|peer| !current.contains(peer));
        let new: Vec<PeerId> = new.cloned().collect();
        self.reserve(&new, size);
        self.0.deciding.ran(begun);
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;

    #[tokio::test(start_paused = true)]
    async fn a_known_size_counts_until_its_peer_counts_it_itself() {
        let reservations = Reservations::default();
        let known = |told| reservations.of(&peer(1), told).known_bytes;
        reservations.add(&[peer(1)], Promised::to(100));
        let promised = Instant::now();
        assert_eq!((known(None), known(Some(promised))), (100, 100));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(
            known(Some(promised + Duration::from_secs(1))),
            100,
            "too early to know"
        );
        reservations.add(&[peer(1)], Promised::to(7));
        assert_eq!(known(Some(Instant::now())), 7, "the first is in the metric");
        tokio::time::advance(SETTLED).await;
        assert_eq!(known(None), 0, "no promise is for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_guess_counts_for_a_minute_whatever_is_told() {
        let reservations = Reservations::default();
        reservations.add(&[peer(1)], Promised::to(0));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(
            reservations.of(&peer(1), Some(Instant::now())),
            Promised::to(0)
        );
        tokio::time::advance(SETTLED).await;
        assert_eq!(reservations.of(&peer(1), None), Promised::default());
    }
}
