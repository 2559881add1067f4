//! What a user has pinned on his Kubo himself, the cluster leaves alone, whatever becomes of the
//! cluster's own pins and of the peer beside it.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::id::Cid;

use super::Invariant;
use crate::{ipfs::foreign_pins, observe::Seen, world::HostId};

#[derive(Debug)]
pub(super) struct ForeignPinsStay {
    foreign: Vec<Cid>,
    /// What was seen on each node. Embedded nodes have nothing of it.
    seen: BTreeMap<HostId, BTreeSet<Cid>>,
}

impl Default for ForeignPinsStay {
    fn default() -> Self {
        Self {
            foreign: foreign_pins(),
            seen: BTreeMap::new(),
        }
    }
}

impl Invariant for ForeignPinsStay {
    fn name(&self) -> &'static str {
        "foreign-pins-stay"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let Seen::State { peer, view, .. } = seen else {
            return Ok(());
        };
        let Some(held) = &view.held else {
            return Ok(());
        };
        let known = self.seen.entry(*peer).or_default();
        if let Some(cid) = known.iter().find(|cid| !held.contains(*cid)) {
            return Err(format!(
                "the Kubo of peer {peer} had {cid} pinned by its user, and has it no more"
            ));
        }
        let there = self.foreign.iter().filter(|cid| held.contains(*cid));
        known.extend(there.copied());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::state;

    #[test]
    fn a_users_own_pin_that_goes_is_found() {
        let look = |peer, held: &[Cid]| {
            let held: BTreeSet<Cid> = held.iter().copied().collect();
            state(peer, 1, |view| view.held = Some(held))
        };
        let all = foreign_pins();
        let mut invariant = ForeignPinsStay::default();
        assert_eq!(invariant.check(&look(1, &[])), Ok(()));
        assert_eq!(invariant.check(&look(2, &all)), Ok(()));
        assert_eq!(invariant.check(&state(2, 1, |_| {})), Ok(()));
        assert_eq!(invariant.check(&look(2, &all)), Ok(()));
        assert!(invariant.check(&look(2, &all[1..])).is_err());
    }
}
