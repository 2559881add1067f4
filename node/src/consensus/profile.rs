//! Which timing suits: chosen by the round trips to the voters, with hysteresis.
//!
//! Of each voter the shortest of the last few round trips counts: a link is as long as that, what
//! is above it is a busy machine. The farthest voter decides. Peers decide each for themselves, and
//! that is enough: where one sees a voter far off, every other one sees it, or the one that saw
//! it, at least half as far off.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use ipfs_cluster_protocol::id::PeerId;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{
    config::Profile,
    handle::{Consensus, Inner},
    status::Role,
};

/// Between two looks at the round trips.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Round trips kept of each voter.
const KEPT: usize = 8;
/// Round trips of a voter before it counts.
const ENOUGH: usize = 4;
/// A voter farther off than this calls for `wan`.
const FAR: Duration = Duration::from_millis(30);
/// With all voters nearer than this `local` will do.
const NEAR: Duration = Duration::from_millis(15);
/// How long voters must be far before `wan` is taken.
const FAR_FOR: Duration = Duration::from_secs(30);
/// How long all must be near before `local` is taken again: going back gains little.
const NEAR_FOR: Duration = Duration::from_secs(600);

/// Decides. Pure.
#[derive(Debug)]
pub(super) struct Chooser {
    present: Profile,
    round_trips: BTreeMap<PeerId, VecDeque<Duration>>,
    /// Since when the other profile would suit better.
    since: Option<Duration>,
}

impl Chooser {
    pub(super) fn new(present: Profile) -> Self {
        Self {
            present,
            round_trips: BTreeMap::new(),
            since: None,
        }
    }

    /// Takes the latest round trips to the other voters at a time of a monotonic clock; the profile
    /// to change to, if it is time.
    pub(super) fn observe(
        &mut self,
        latest: &BTreeMap<PeerId, Duration>,
        now: Duration,
    ) -> Option<Profile> {
        self.round_trips.retain(|peer, _| latest.contains_key(peer));
        for (peer, took) in latest {
            let kept = self.round_trips.entry(peer.clone()).or_default();
            kept.push_back(*took);
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
        let known = self
            .round_trips
            .values()
            .filter(|kept| kept.len() >= ENOUGH);
        let farthest = known.filter_map(|kept| kept.iter().min()).max();
        let (better, held_for) = match (self.present, farthest) {
            (Profile::Local, Some(farthest)) => (*farthest > FAR, FAR_FOR),
            (Profile::Wan, Some(farthest)) => (*farthest < NEAR, NEAR_FOR),
            // Nobody is heard of: nothing is known.
            (_, None) => (false, FAR_FOR),
        };
        if !better {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < held_for {
            return None;
        }
        self.since = None;
        self.present = match self.present {
            Profile::Local => Profile::Wan,
            Profile::Wan => Profile::Local,
        };
        Some(self.present)
    }
}

/// Looks as long as the peer runs.
pub(super) async fn run(consensus: Weak<Inner>, first: Profile) {
    let started = Instant::now();
    let mut chooser = Chooser::new(first);
    loop {
        sleep(LOOK_EVERY).await;
        let Some(inner) = consensus.upgrade() else {
            return;
        };
        let consensus = Consensus(inner);
        let latest = consensus.round_trips();
        if let Some(profile) = chooser.observe(&latest, started.elapsed()) {
            info!(?profile, ?latest, "the round trips call for another timing");
            if let Err(e) = consensus.change_profile(profile).await {
                // The peer does not take part any more: its supervisor notices by the role.
                warn!(error = %e, "the consensus did not start with another timing");
            }
        }
    }
}

impl Consensus {
    /// The latest round trips to the other voters, as far as they are known.
    fn round_trips(&self) -> BTreeMap<PeerId, Duration> {
        let status = self.status();
        let voters = status.borrow().voters.clone();
        let local = self.0.links.local();
        let others = voters.into_iter().filter(|peer| *peer != local);
        others
            .filter_map(|peer| {
                let took = self.0.links.round_trip(&peer)?;
                Some((peer, took))
            })
            .collect()
    }

    /// Starts openraft anew with another timing, which it takes at its start alone. The state, the
    /// log and the streams stay open; a leader hands over first.
    pub(super) async fn change_profile(&self, profile: Profile) -> Result<(), String> {
        self.transfer_leadership().await;
        let _one_at_a_time = self.0.starting.lock().await;
        let Some(identity) = self.identity() else {
            return Ok(());
        };
        if !self.stop_run().await {
            // It was stopped for good meanwhile.
            return Ok(());
        }
        self.0.status.send_modify(|s| {
            s.profile = profile;
            // Who leads is heard anew.
            (s.role, s.leader) = (Role::Stopped, None);
        });
        self.run(identity).await.map_err(|e| e.to_string())
    }
}

/// Keeps looking, if the configuration leaves the choice to this peer.
pub(super) fn follow(inner: &Arc<Inner>) {
    if inner.config.profile.is_none() {
        let first = inner.status.borrow().profile;
        let weak = Arc::downgrade(inner);
        inner.doors.lock().spawn(run(weak, first));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::types::RaftId;

    fn voters(ms: &[u64]) -> BTreeMap<PeerId, Duration> {
        let numbered = (1..).zip(ms);
        numbered
            .map(|(n, ms)| {
                let peer = RaftId::from(n).peer().clone();
                (peer, Duration::from_millis(*ms))
            })
            .collect()
    }

    /// Looks until a change, at most for `looks`; after how many, and to what.
    fn until_change(chooser: &mut Chooser, ms: &[u64], looks: u32) -> Option<(u32, Profile)> {
        (0..looks).find_map(|n| {
            let changed = chooser.observe(&voters(ms), LOOK_EVERY * n)?;
            Some((n, changed))
        })
    }

    #[test]
    fn a_far_voter_calls_for_wan_after_half_a_minute_and_near_ones_for_local_after_ten() {
        let mut chooser = Chooser::new(Profile::Local);
        assert_eq!(until_change(&mut chooser, &[1, 20], 1000), None);
        let far = until_change(&mut chooser, &[1, 31], 100);
        // The window still holds near ones for a while, then half a minute passes.
        assert_eq!(far, Some((13, Profile::Wan)));
        assert_eq!(until_change(&mut chooser, &[1, 16], 1000), None);
        let near = until_change(&mut chooser, &[1, 14], 1000);
        assert_eq!(near, Some((120, Profile::Local)));
    }

    #[test]
    fn slow_answers_of_a_busy_machine_count_for_nothing() {
        let mut chooser = Chooser::new(Profile::Local);
        for n in 0..1000 {
            let ms = if n % 6 == 0 { 2 } else { 300 };
            let changed = chooser.observe(&voters(&[ms]), LOOK_EVERY * n);
            // Before there are enough, nothing is said.
            assert_eq!(changed, None, "look {n}");
        }
    }

    #[test]
    fn nothing_is_known_of_voters_that_are_away() {
        let mut chooser = Chooser::new(Profile::Wan);
        assert_eq!(until_change(&mut chooser, &[], 1000), None);
        let mut chooser = Chooser::new(Profile::Local);
        assert_eq!(until_change(&mut chooser, &[90], 3), None);
    }

    proptest! {
        #[test]
        fn it_never_goes_to_and_fro(
            ms in prop::collection::vec(prop::collection::vec(0..100u64, 2), 1..600),
        ) {
            let mut chooser = Chooser::new(Profile::Local);
            let mut changes: Vec<u32> = Vec::new();
            for (n, ms) in (0..).zip(&ms) {
                if chooser.observe(&voters(ms), LOOK_EVERY * n).is_some() {
                    changes.push(n);
                }
            }
            let apart = changes.windows(2).map(|pair| LOOK_EVERY * (pair[1] - pair[0]));
            prop_assert!(apart.into_iter().all(|apart| apart >= FAR_FOR));
        }
    }
}
