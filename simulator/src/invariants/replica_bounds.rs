//! A pin is allocated to each peer once, and a release leaves it as many as it must have at least.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    id::{PeerId, Rev, Seq},
    pin::{Holding, Pin},
};

use super::Invariant;
use crate::observe::{Seen, View};

#[derive(Debug, Default)]
pub(super) struct ReplicaBounds {
    /// The furthest state seen.
    rev: Rev,
    pins: BTreeMap<Seq, Pin>,
}

impl ReplicaBounds {
    fn compare(before: &Pin, now: &Pin, members: &BTreeSet<&PeerId>) -> Result<(), String> {
        let (Holding::Allocated { min, .. }, true) = (now.spec.holding(), before.spec == now.spec)
        else {
            return Ok(());
        };
        // A peer that has left is forgotten at once, whatever remains; and what remained before that
        // was not seen.
        let mut all = before.allocations.iter();
        let stayed = all.clone().all(|peer| members.contains(peer));
        let released = all.any(|peer| !now.allocations.contains(peer));
        if stayed && released && now.allocations.len() < min as usize {
            return Err(format!(
                "pin {} ({}) was released and is left with {} allocations of at least {min}",
                now.seq,
                now.spec.cid,
                now.allocations.len()
            ));
        }
        Ok(())
    }

    fn look(&mut self, view: &View) -> Result<(), String> {
        for pin in &view.pins {
            let distinct: BTreeSet<&PeerId> = pin.allocations.iter().collect();
            if distinct.len() != pin.allocations.len() {
                return Err(format!("pin {} is allocated twice to a peer", pin.seq));
            }
            let allocated = matches!(pin.spec.holding(), Holding::Allocated { .. });
            if !allocated && !pin.allocations.is_empty() {
                return Err(format!("pin {} has allocations that mean nothing", pin.seq));
            }
        }
        if view.system.rev <= self.rev {
            return Ok(());
        }
        self.rev = view.system.rev;
        let members: BTreeSet<&PeerId> = view.members.iter().map(|m| &m.peer).collect();
        for pin in &view.pins {
            if let Some(before) = self.pins.get(&pin.seq) {
                Self::compare(before, pin, &members)?;
            }
        }
        let pins = view.pins.iter().map(|pin| (pin.seq, pin.clone()));
        self.pins = pins.collect();
        Ok(())
    }
}

impl Invariant for ReplicaBounds {
    fn name(&self) -> &'static str {
        "replica-bounds"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        match seen {
            Seen::State { view, .. } => self.look(view),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::{members, peer, pin, state};

    fn view(rev: u64, allocations: &[usize]) -> Seen {
        let mut pin = pin(1, rev, (2, 3));
        pin.allocations = allocations.iter().map(|n| peer(*n)).collect();
        state(1, rev, |view| {
            view.members = members(3);
            view.pins = vec![pin];
        })
    }

    #[test]
    fn a_release_below_the_least_is_found() {
        let mut invariant = ReplicaBounds::default();
        assert_eq!(invariant.check(&view(1, &[1, 2, 3])), Ok(()));
        assert_eq!(invariant.check(&view(2, &[1, 2])), Ok(()));
        assert!(invariant.check(&view(3, &[1])).is_err());
    }

    #[test]
    fn a_peer_named_twice_is_found() {
        assert!(ReplicaBounds::default().check(&view(1, &[1, 1])).is_err());
    }
}
