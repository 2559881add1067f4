//! At most one peer leads in a term.

use std::collections::BTreeMap;

use ipfs_cluster_node::consensus::Role;

use super::Invariant;
use crate::{observe::Seen, world::HostId};

#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    /// Who has led, by term.
    leaders: BTreeMap<u64, HostId>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election-safety"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let Seen::Raft { peer, status, .. } = seen else {
            return Ok(());
        };
        if status.role != Role::Leader {
            return Ok(());
        }
        let first = *self.leaders.entry(status.term).or_insert(*peer);
        if first == *peer {
            Ok(())
        } else {
            Err(format!(
                "peers {first} and {peer} both led in term {}",
                status.term
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_node::consensus::RaftStatus;

    use super::*;

    fn leads(peer: HostId, term: u64) -> Seen {
        Seen::Raft {
            peer,
            life: 0,
            status: RaftStatus {
                role: Role::Leader,
                term,
                ..RaftStatus::default()
            },
        }
    }

    #[test]
    fn two_leaders_of_one_term_are_found() {
        let mut invariant = ElectionSafety::default();
        for (peer, term) in [(1, 1), (2, 2), (1, 3), (1, 3)] {
            assert_eq!(invariant.check(&leads(peer, term)), Ok(()));
        }
        assert!(invariant.check(&leads(2, 3)).is_err());
    }
}
