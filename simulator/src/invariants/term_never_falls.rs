//! A peer's term never falls, not even over a restart: with it goes what it has voted in that term,
//! and a peer that forgets its vote may give it twice.

use std::collections::BTreeMap;

use super::Invariant;
use crate::{observe::Seen, world::HostId};

/// Looks in a row (50 ms each) after which a term is surely on the disk, however slow that is.
const LOOKS: u32 = 60;

/// What is known of a peer.
#[derive(Debug, Default)]
struct Terms {
    life: u64,
    /// The term of the last look, and at how many looks in a row it was that.
    last: u64,
    looks: u32,
    /// The highest term that is surely kept.
    kept: u64,
}

#[derive(Debug, Default)]
pub(super) struct TermNeverFalls {
    peers: BTreeMap<HostId, Terms>,
}

impl Invariant for TermNeverFalls {
    fn name(&self) -> &'static str {
        "term-never-falls"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let (peer, life, status) = match seen {
            Seen::Wiped { peer } => {
                self.peers.remove(peer);
                return Ok(());
            }
            Seen::Raft { peer, life, status } => (*peer, *life, status),
            _ => return Ok(()),
        };
        let terms = self.peers.entry(peer).or_default();
        // Before consensus runs there is no term to tell of.
        if status.term == 0 {
            return Ok(());
        }
        if status.term < terms.kept {
            return Err(format!(
                "peer {peer} was in term {} for long and is in term {} now",
                terms.kept, status.term
            ));
        }
        if (terms.life, terms.last) == (life, status.term) {
            terms.looks += 1;
        } else {
            (terms.life, terms.last, terms.looks) = (life, status.term, 1);
        }
        if terms.looks >= LOOKS {
            terms.kept = status.term;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_node::consensus::RaftStatus;

    use super::*;

    fn look(life: u64, term: u64) -> Seen {
        Seen::Raft {
            peer: 1,
            life,
            status: RaftStatus {
                term,
                ..RaftStatus::default()
            },
        }
    }

    fn after(looks: u32, next: &[Seen]) -> bool {
        let mut invariant = TermNeverFalls::default();
        let long = (0..looks).all(|_| invariant.check(&look(1, 7)).is_ok());
        long && next.iter().all(|seen| invariant.check(seen).is_ok())
    }

    #[test]
    fn a_term_that_is_forgotten_in_a_restart_is_found() {
        assert!(!after(LOOKS, &[look(2, 0), look(2, 6)]));
        assert!(after(LOOKS, &[look(2, 7), look(2, 8)]));
        // One that may not have been written yet may be gone.
        assert!(after(LOOKS - 1, &[look(2, 6)]));
        assert!(after(LOOKS, &[Seen::Wiped { peer: 1 }, look(2, 1)]));
    }
}
