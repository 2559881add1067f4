//! An IPFS node loses only pins that the cluster ordered away: those that are unpinned, or not
//! allocated to its peer any more. An order may take its time to get to a slow node, and a new pin of
//! the same CID may be ordered meanwhile: it is pinned again then.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    id::{Cid, PeerId, Rev},
    pin::{Holding, Pin},
};

use super::{
    Invariant,
    holders::{Held, Machines, ORDER_US},
};
use crate::{
    observe::{Seen, View},
    world::{HostId, Micros},
};

/// What a peer had to hold when it was last looked at, and held.
#[derive(Debug, Default)]
struct Last {
    /// In which life.
    life: u64,
    /// As of which change, and since when it has been so.
    due: BTreeMap<Cid, (Rev, Micros)>,
    held: Held,
    /// Gone at the last look though due: judged at the next, for the order to remove it may have
    /// come between the looks at the state and at the node.
    suspects: BTreeMap<Cid, Rev>,
}

#[derive(Debug, Default)]
pub(super) struct OrderedUnpins {
    machines: Machines,
    last: BTreeMap<HostId, Last>,
}

impl OrderedUnpins {
    pub(super) fn new(machines: Machines) -> Self {
        Self {
            machines,
            ..Self::default()
        }
    }

    /// What this peer is to hold, as it knows.
    fn due(&self, host: HostId, view: &View) -> BTreeMap<Cid, Rev> {
        let mine = |peer: &PeerId| self.machines.0.get(peer) == Some(&host);
        let due = |pin: &&Pin| match pin.spec.holding() {
            Holding::Nobody => false,
            Holding::Everywhere => true,
            Holding::Allocated { .. } => pin.allocations.iter().any(mine),
        };
        let pins = view.pins.iter().filter(due);
        pins.map(|pin| (pin.spec.cid, pin.rev)).collect()
    }
}

impl Invariant for OrderedUnpins {
    fn name(&self) -> &'static str {
        "ordered-unpins"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        let (peer, life, view) = match seen {
            Seen::Wiped { peer } | Seen::Emptied { peer } => {
                self.last.remove(peer);
                return Ok(());
            }
            Seen::State { peer, life, view } => (*peer, *life, view),
            _ => return Ok(()),
        };
        let Some(held) = &view.held else {
            return Ok(());
        };
        let due = self.due(peer, view);
        let last = self.last.entry(peer).or_default();
        if last.life != life && !view.caught_up {
            return Ok(());
        }
        last.life = life;
        let unchanged = |cid: &Cid, rev: &Rev| due.get(cid) == Some(rev);
        let since = |(cid, rev): (&Cid, &Rev)| {
            let before = last.due.get(cid).filter(|(before, _)| before == rev);
            let since = before.map_or(view.at, |(_, since)| *since);
            (*cid, (*rev, since))
        };
        let lost = |(cid, rev): &(&Cid, &Rev)| unchanged(cid, rev) && !held.contains(*cid);
        if let Some((cid, rev)) = last.suspects.iter().find(lost) {
            return Err(format!(
                "the IPFS node of peer {peer} lost {cid}, which is its to hold as of rev {rev}"
            ));
        }
        let gone = last.held.see(held);
        let suspects = gone.iter().filter_map(|cid| {
            let (rev, since) = last.due.get(cid)?;
            let long = since + ORDER_US < view.at;
            (long && unchanged(cid, rev)).then_some((*cid, *rev))
        });
        last.suspects = suspects.collect();
        last.due = due.iter().map(since).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::{in_life, peer, pin, state};

    fn look(rev: u64, pinned: Option<u64>, held: bool) -> Seen {
        let of = |rev| {
            let mut pin = pin(1, rev, (1, 1));
            pin.allocations = vec![peer(1)];
            pin
        };
        state(1, rev, |view| {
            view.at = rev * 2 * ORDER_US;
            view.held = Some(held.then_some(of(1).spec.cid).into_iter().collect());
            view.pins = pinned.map(of).into_iter().collect();
        })
    }

    #[test]
    fn what_was_done_before_a_loss_of_power_may_not_be_known_after_it() {
        let held = [look(0, Some(1), true), look(1, Some(1), true)];
        let after = |caught_up| {
            let looks = [look(2, Some(1), false), look(3, Some(1), false)];
            looks.map(|seen| in_life(1, seen, caught_up))
        };
        let known = [held.clone().as_slice(), after(false).as_slice()].concat();
        assert!(verdict(&known));
        let lost = [known.as_slice(), after(true).as_slice()].concat();
        assert!(!verdict(&lost), "by now it must know");
    }

    fn verdict(looks: &[Seen]) -> bool {
        let mut invariant = OrderedUnpins::new(Machines([(peer(1), 1)].into()));
        looks.iter().all(|seen| invariant.check(seen).is_ok())
    }

    #[test]
    fn a_pin_that_goes_without_an_order_is_found() {
        let silent = [
            look(0, Some(1), true),
            look(1, Some(1), true),
            look(2, Some(1), false),
            look(3, Some(1), false),
        ];
        assert!(!verdict(&silent));
    }

    #[test]
    fn a_pin_that_was_unpinned_or_changed_may_go() {
        let late = [
            look(1, Some(1), true),
            look(2, Some(1), false),
            look(3, None, false),
        ];
        assert!(verdict(&late));
        let again = [
            look(1, Some(1), true),
            look(2, Some(2), false),
            look(3, Some(2), false),
        ];
        assert!(verdict(&again));
    }
}
