//! The membership of this moment as the planner wants it.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::{id::PeerId, repair::MemberHealth, state::Member, time::Timestamp};
use tokio::time::Instant;

/// How long members have been down, by a monotonic clock: a jump of the wall clock ends no grace.
#[derive(Debug, Default)]
pub(super) struct Downtimes(BTreeMap<PeerId, Downtime>);

#[derive(Debug)]
struct Downtime {
    /// What the log says.
    since: Timestamp,
    /// How long that was ago when this leader first saw it.
    before: Duration,
    /// When that was.
    seen: Instant,
}

impl Downtimes {
    /// Takes in what the state says now.
    pub(super) fn observe(&mut self, members: &[Member], wall: Timestamp) {
        let now = Instant::now();
        let down: BTreeMap<&PeerId, Timestamp> = members
            .iter()
            .filter_map(|m| Some((&m.peer, m.down_since?)))
            .collect();
        self.0
            .retain(|peer, known| down.get(peer) == Some(&known.since));
        for (peer, since) in down {
            self.0.entry(peer.clone()).or_insert_with(|| Downtime {
                since,
                before: Duration::from_millis(wall.ms_since(since)),
                seen: now,
            });
        }
    }

    fn of(&self, peer: &PeerId) -> Option<Duration> {
        self.0
            .get(peer)
            .map(|known| known.before + known.seen.elapsed())
    }

    /// The members for the planner. With repair off, a peer that is down counts as one that stays.
    pub(super) fn health(
        &self,
        members: &[Member],
        enabled: bool,
        answers: impl Fn(&PeerId) -> bool,
    ) -> Vec<MemberHealth> {
        let health = |member: &Member| MemberHealth {
            down_for_ms: self
                .of(&member.peer)
                .filter(|_| enabled)
                .map(|down| u64::try_from(down.as_millis()).unwrap_or(u64::MAX)),
            draining: member.draining,
            answers: answers(&member.peer),
            peer: member.peer.clone(),
        };
        members.iter().map(health).collect()
    }
}
