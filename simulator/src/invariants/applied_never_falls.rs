//! What a peer has applied never falls while it runs.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::id::LogIndex;

use super::Invariant;
use crate::{observe::Seen, world::HostId};

#[derive(Debug, Default)]
pub(super) struct AppliedNeverFalls {
    /// The highest index seen in a life.
    highest: BTreeMap<(HostId, u64), LogIndex>,
}

impl Invariant for AppliedNeverFalls {
    fn name(&self) -> &'static str {
        "applied-never-falls"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let Seen::Raft { peer, life, status } = seen else {
            return Ok(());
        };
        let before = self.highest.entry((*peer, *life)).or_default();
        if status.applied < *before {
            return Err(format!(
                "peer {peer} had applied entry {before} and then {}",
                status.applied
            ));
        }
        *before = status.applied;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_node::consensus::RaftStatus;

    use super::*;

    #[test]
    fn going_back_is_found_within_a_life_only() {
        let seen = |life, applied| Seen::Raft {
            peer: 1,
            life,
            status: RaftStatus {
                applied: LogIndex(applied),
                ..RaftStatus::default()
            },
        };
        let mut invariant = AppliedNeverFalls::default();
        for (life, applied) in [(1, 5), (1, 5), (1, 9), (2, 3)] {
            assert_eq!(invariant.check(&seen(life, applied)), Ok(()));
        }
        assert!(invariant.check(&seen(2, 2)).is_err());
    }
}
