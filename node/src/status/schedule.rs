//! When to pull whose table: not at once (the missing delta may be on its way), not twice at a time,
//! and more rarely while it fails.

use ipfs_cluster_protocol::limits;
use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::id::PeerId;

/// Gossip may overtake itself for so long.
const GRACE_MS: u64 = 300;
/// After the first failure.
const BACKOFF_MS_MIN: u64 = 500;

#[derive(Debug, Default)]
struct Entry {
    /// Not before this.
    due_ms: u64,
    failures: u32,
    running: bool,
}

/// The pulls of all tables.
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeMap<PeerId, Entry>);

impl Schedule {
    /// Forgets everyone else.
    pub(super) fn retain(&mut self, members: &BTreeSet<PeerId>) {
        self.0.retain(|peer, _| members.contains(peer));
    }

    /// Which of the `missing` tables to pull now, the longest due first, so that at most `limit`
    /// are being pulled; and when the next one is due.
    pub(super) fn due<'a>(
        &mut self,
        missing: impl Iterator<Item = &'a PeerId>,
        now_ms: u64,
        limit: usize,
    ) -> (Vec<PeerId>, Option<u64>) {
        let missing: BTreeSet<&PeerId> = missing.collect();
        // What came by itself in the meantime was no failure.
        self.0
            .retain(|peer, e| e.running || e.due_ms > now_ms || missing.contains(peer));
        let running = self.0.values().filter(|e| e.running).count();
        let mut waiting = Vec::new();
        for peer in missing {
            let entry = self.0.entry(peer.clone()).or_insert_with(|| Entry {
                due_ms: now_ms.saturating_add(GRACE_MS),
                ..Entry::default()
            });
            if !entry.running {
                waiting.push((entry.due_ms, peer.clone()));
            }
        }
        waiting.sort();
        let room = limit.saturating_sub(running);
        let ready = waiting.iter().take_while(|(due, _)| *due <= now_ms).count();
        let next = waiting.get(ready).map(|(due, _)| *due);
        waiting.truncate(ready.min(room));
        for (_, peer) in &waiting {
            if let Some(entry) = self.0.get_mut(peer) {
                entry.running = true;
            }
        }
        (waiting.into_iter().map(|(_, peer)| peer).collect(), next)
    }

    /// A pull came to its end. `jitter` is a random number in 0..1.
    pub(super) fn ended(&mut self, peer: &PeerId, complete: bool, jitter: f64, now_ms: u64) {
        if complete {
            self.0.remove(peer);
            return;
        }
        let Some(entry) = self.0.get_mut(peer) else {
            return;
        };
        entry.running = false;
        let backoff =
            (BACKOFF_MS_MIN << entry.failures.min(16)).min(limits::SCHEDULE_BACKOFF_MS_MAX);
        entry.failures = entry.failures.saturating_add(1);
        let backoff = backoff as f64 * (0.75 + 0.5 * jitter.clamp(0.0, 1.0));
        entry.due_ms = now_ms.saturating_add(backoff as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;

    #[test]
    fn a_pull_waits_for_its_grace_and_for_room() {
        let mut schedule = Schedule::default();
        let peers = [peer(1), peer(2), peer(3)];
        assert_eq!(schedule.due(peers.iter(), 0, 2), (vec![], Some(GRACE_MS)));
        let (due, next) = schedule.due(peers.iter(), GRACE_MS, 2);
        assert_eq!((due, next), (vec![peer(1), peer(2)], None));
        assert_eq!(schedule.due(peers.iter(), GRACE_MS, 2).0, []);
        schedule.ended(&peer(1), true, 0.5, GRACE_MS);
        assert_eq!(schedule.due(peers[2..].iter(), GRACE_MS, 2).0, [peer(3)]);
    }

    #[test]
    fn failures_make_it_rarer_and_success_forgets_them() {
        let mut schedule = Schedule::default();
        let one = [peer(1)];
        schedule.due(one.iter(), 0, 1);
        let mut now = GRACE_MS;
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(schedule.due(one.iter(), now, 1).0, one);
            schedule.ended(&peer(1), false, 0.5, now);
            let (none, next) = schedule.due(one.iter(), now, 1);
            assert!(none.is_empty());
            waits.push(next.unwrap() - now);
            now = next.unwrap();
        }
        assert_eq!(waits[..3], [500, 1000, 2000]);
        assert_eq!(waits[8], limits::SCHEDULE_BACKOFF_MS_MAX);
        assert_eq!(schedule.due(one.iter(), now, 1).0, one);
        schedule.ended(&peer(1), true, 0.5, now);
        assert_eq!(schedule.due(one.iter(), now, 1).1, Some(now + GRACE_MS));
    }
}
