//! What a peer holds of a pin that nobody changed is not let go of unless another peer holds it:
//! the last copy goes only with its disk.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::id::{Cid, Rev};

use super::{Invariant, holders::Holders};
use crate::{observe::Seen, world::HostId};

#[derive(Debug, Default)]
pub(super) struct NoCidLost {
    holders: Holders,
    /// Let go by the last that held it, as of which change; judged at the next look, for an unpin
    /// may be on its way to where the state is looked at.
    suspects: BTreeMap<Cid, (Rev, HostId)>,
}

impl Invariant for NoCidLost {
    fn name(&self) -> &'static str {
        "no-cid-lost"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let (peer, view) = match seen {
            Seen::Wiped { peer } | Seen::Emptied { peer } => {
                self.holders.wipe(*peer);
                return Ok(());
            }
            Seen::State { peer, view, .. } => (*peer, view),
            _ => return Ok(()),
        };
        let known = self.holders.rev;
        let gone = self.holders.see(peer, view);
        if view.system.rev >= known {
            let suspects = std::mem::take(&mut self.suspects);
            for (cid, (rev, by)) in suspects {
                let same = self.holders.rev_of(&cid) == Some(rev);
                // After a loss of power it may not know again of the unpin that it has carried out.
                let knows = by == peer && view.caught_up;
                if same && !knows {
                    self.suspects.insert(cid, (rev, by));
                } else if same && self.holders.count(&cid, None) == 0 {
                    return Err(format!(
                        "{cid} is pinned as of rev {rev}, and peer {by}, the last to hold it, let go of it"
                    ));
                }
            }
        }
        for cid in gone {
            if let Some(rev) = self.holders.old_rev_of(&cid, peer, view.at)
                && self.holders.count(&cid, None) == 0
            {
                self.suspects.insert(cid, (rev, peer));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::holders::ORDER_US;
    use crate::invariants::tests::{in_life, pin, state};

    fn look(peer: HostId, rev: u64, pinned: Option<u64>, held: bool) -> Seen {
        state(peer, rev, |view| {
            view.at = rev * 2 * ORDER_US;
            view.caught_up = true;
            view.pins = pinned.map(|rev| pin(1, rev, (1, 1))).into_iter().collect();
            let cid = pin(1, 1, (1, 1)).spec.cid;
            view.held = Some(held.then_some(cid).into_iter().collect());
        })
    }

    fn verdict(looks: &[Seen]) -> bool {
        let mut invariant = NoCidLost::default();
        looks.iter().all(|seen| invariant.check(seen).is_ok())
    }

    #[test]
    fn the_last_copy_must_not_go() {
        let lost = [
            look(1, 0, Some(1), true),
            look(1, 1, Some(1), true),
            look(1, 2, Some(1), false),
            look(1, 3, Some(1), false),
        ];
        assert!(!verdict(&lost));
    }

    #[test]
    fn what_was_unpinned_before_a_loss_of_power_may_not_be_known_after_it() {
        let behind = |seen| in_life(0, seen, false);
        let before = [look(1, 0, Some(1), true), look(1, 1, Some(1), true)];
        let after = [look(1, 2, Some(1), false), look(1, 3, Some(1), false)];
        let known = [before.as_slice(), &after.map(behind)].concat();
        let unpinned = [known.as_slice(), &[look(1, 4, None, false)]].concat();
        assert!(verdict(&unpinned));
        let lost = [known.as_slice(), &[look(1, 4, Some(1), false)]].concat();
        assert!(!verdict(&lost), "by now it must know");
    }

    #[test]
    fn it_may_go_when_it_is_unpinned_or_held_elsewhere() {
        let unpinned = [
            look(1, 0, Some(1), true),
            look(1, 1, Some(1), true),
            look(1, 2, Some(1), false),
            look(1, 3, None, false),
        ];
        assert!(verdict(&unpinned));
        let moved = [
            look(1, 0, Some(1), true),
            look(1, 1, Some(1), true),
            look(2, 1, Some(1), true),
            look(1, 2, Some(1), false),
            look(1, 3, Some(1), false),
        ];
        assert!(verdict(&moved));
    }

    #[test]
    fn a_peer_that_was_away_carries_out_late_what_was_ordered_meanwhile() {
        let late = [
            look(1, 1, Some(1), true),
            look(1, 2, Some(1), true),
            look(2, 3, Some(3), false),
            look(2, 5, Some(3), false),
            look(1, 5, Some(3), false),
            look(1, 6, Some(3), false),
        ];
        assert!(verdict(&late));
    }

    #[test]
    fn what_goes_with_its_disk_is_nobodys_fault() {
        let wiped = [
            look(1, 0, Some(1), true),
            look(1, 1, Some(1), true),
            Seen::Wiped { peer: 1 },
            look(1, 2, Some(1), false),
            look(1, 3, Some(1), false),
        ];
        assert!(verdict(&wiped));
    }
}
