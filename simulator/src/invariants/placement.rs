//! As long as nothing is amiss, a new pin goes where its user wishes, and over as many zones as it
//! has copies.
//!
//! Judged before the first fault only: later the wishes of a user and what lives may not agree. And
//! only pins that were asked for once of late: content that an earlier order has brought somewhere
//! stays there, and that order may never have been seen.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    id::{Cid, PeerId, Seq},
    pin::{Holding, Pin},
};

use super::Invariant;
use crate::{observe::Seen, world::Micros};

/// By then every peer has told of itself.
const SETTLING_US: Micros = 20_000_000;
/// Two orders that are not farther apart may both come between two looks.
const LATELY_US: Micros = 10_000_000;

#[derive(Debug, Default)]
pub(super) struct Placement {
    zones: BTreeMap<PeerId, String>,
    start: Option<Micros>,
    disturbed: bool,
    known: BTreeSet<Seq>,
    /// When the last two orders of each CID came.
    asked: BTreeMap<Cid, [Micros; 2]>,
}

impl Placement {
    /// Of peers in these zones.
    pub(super) fn new(zones: BTreeMap<PeerId, String>) -> Self {
        Self {
            zones,
            ..Self::default()
        }
    }

    fn asked_again(&self, pin: &Pin) -> bool {
        let asked = self.asked.get(&pin.spec.cid);
        asked.is_some_and(|[before, last]| *last < *before + LATELY_US)
    }

    fn judge(&self, pin: &Pin) -> Result<(), String> {
        let Holding::Allocated { max, .. } = pin.spec.holding() else {
            return Ok(());
        };
        // An update goes where its source is.
        if pin.spec.pin_update.is_some() {
            return Ok(());
        }
        let wishes = pin.spec.user_allocations.iter().take(max as usize);
        if let Some(peer) = wishes.clone().find(|p| !pin.allocations.contains(p)) {
            return Err(format!(
                "pin {} was to be at {peer} and is at {:?}",
                pin.seq, pin.allocations
            ));
        }
        let zone = |peer: &PeerId| self.zones.get(peer);
        // Whoever comes after the copies that were wanted last waits to be released.
        let placed = pin.allocations.iter().take(pin.copies as usize);
        let used: BTreeSet<_> = placed.clone().filter_map(zone).collect();
        let all: BTreeSet<_> = self.zones.values().collect();
        let wanted = all.len().min(placed.len());
        if wishes.len() == 0 && used.len() < wanted {
            return Err(format!(
                "pin {} of {} (rev {}) is at {:?}, in {} of {} zones",
                pin.seq,
                pin.spec.cid,
                pin.rev,
                pin.allocations,
                used.len(),
                all.len()
            ));
        }
        Ok(())
    }
}

impl Invariant for Placement {
    fn name(&self) -> &'static str {
        "placement"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let view = match seen {
            Seen::Disturbed => {
                self.disturbed = true;
                return Ok(());
            }
            Seen::Asked { cid, at } => {
                let last = self.asked.get(cid).map_or(0, |[_, last]| *last);
                self.asked.insert(*cid, [last, *at]);
                return Ok(());
            }
            Seen::State { view, .. } if !self.disturbed => view,
            _ => return Ok(()),
        };
        let start = *self.start.get_or_insert(view.at);
        for pin in &view.pins {
            let new = self.known.insert(pin.seq);
            if new && view.at > start + SETTLING_US && !self.asked_again(pin) {
                self.judge(pin)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::{peer, pin, state};

    fn verdict(wish: Option<usize>, allocations: &[usize], copies: u32) -> Result<(), String> {
        after(&[2 * SETTLING_US], wish, allocations, copies)
    }

    fn after(
        asked: &[Micros],
        wish: Option<usize>,
        allocations: &[usize],
        copies: u32,
    ) -> Result<(), String> {
        let zone = |n: usize| (peer(n), if n < 3 { "eu" } else { "us" }.to_owned());
        let mut invariant = Placement::new((1..=4).map(zone).collect());
        invariant.check(&state(1, 1, |_| {}))?;
        let mut pin = pin(7, 2, (2, 2));
        for at in asked {
            let (cid, at) = (pin.spec.cid, *at);
            invariant.check(&Seen::Asked { cid, at })?;
        }
        pin.spec.user_allocations = wish.map(peer).into_iter().collect();
        pin.allocations = allocations.iter().map(|n| peer(*n)).collect();
        pin.copies = copies;
        let late = state(1, 2, |view| {
            view.at = 2 * SETTLING_US;
            view.pins = vec![pin];
        });
        invariant.check(&late)
    }

    #[test]
    fn wishes_and_zones_are_kept() {
        assert_eq!(verdict(None, &[1, 3], 2), Ok(()));
        assert!(verdict(None, &[1, 2], 2).is_err());
        assert_eq!(verdict(Some(2), &[2, 1], 2), Ok(()));
        assert!(verdict(Some(2), &[1, 3], 2).is_err());
    }

    #[test]
    fn what_an_order_before_it_has_placed_stays() {
        let (first, soon) = (SETTLING_US, SETTLING_US + LATELY_US / 2);
        assert_eq!(after(&[first, soon], None, &[1, 2], 2), Ok(()));
        let later = SETTLING_US + 2 * LATELY_US;
        assert!(after(&[first, later], None, &[1, 2], 2).is_err());
    }

    #[test]
    fn who_waits_to_be_released_is_no_copy() {
        assert_eq!(verdict(None, &[1, 2], 1), Ok(()));
        assert!(verdict(None, &[1, 2, 3], 2).is_err());
    }
}
