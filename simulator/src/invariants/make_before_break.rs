//! A pin is taken from a peer only when as many of the others as it must have at least hold it, in
//! their IPFS nodes, not by hearsay.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    id::{Cid, PeerId, Seq},
    pin::{Holding, Pin},
};

use super::{
    Invariant,
    holders::{Holders, Machines},
};
use crate::{
    observe::{Seen, View},
    world::{HostId, Micros},
};

/// Within which every peer was looked at once more.
const LOOK_US: Micros = 3_000_000;
/// How old a peer's word that it holds a pin may be when others are let go on it: five seconds until
/// that is proposed, and as long to get it into the log and to look at it.
const WORD_US: Micros = 10_000_000;

/// A release to be judged once all peers were looked at.
#[derive(Debug)]
struct Release {
    cid: Cid,
    rev: ipfs_cluster_protocol::id::Rev,
    left: BTreeSet<HostId>,
    min: usize,
    since: Micros,
}

#[derive(Debug, Default)]
pub(super) struct MakeBeforeBreak {
    machines: Machines,
    holders: Holders,
    pins: BTreeMap<Seq, Pin>,
    releases: Vec<Release>,
    /// A node has lost what it held: what is released on what it said before was right to be.
    lost: Option<Loss>,
}

/// How long a loss excuses.
#[derive(Debug)]
enum Loss {
    /// Until its word no longer counts, from the next look on.
    Fresh,
    /// Until then.
    Until(Micros),
}

impl MakeBeforeBreak {
    pub(super) fn new(machines: Machines) -> Self {
        Self {
            machines,
            ..Self::default()
        }
    }

    /// What a newer state has taken from peers that are still members.
    fn note_releases(&mut self, view: &View) {
        let members: BTreeSet<&PeerId> = view.members.iter().map(|m| &m.peer).collect();
        for pin in &view.pins {
            let Holding::Allocated { min, .. } = pin.spec.holding() else {
                continue;
            };
            let Some(before) = self.pins.get(&pin.seq).filter(|b| b.spec == pin.spec) else {
                continue;
            };
            let mut taken = before.allocations.iter();
            if taken.any(|p| members.contains(p) && !pin.allocations.contains(p)) {
                self.releases.push(Release {
                    cid: pin.spec.cid,
                    rev: pin.rev,
                    left: self.machines.of(&pin.allocations),
                    min: min as usize,
                    since: view.at,
                });
            }
        }
        self.pins = view.pins.iter().map(|p| (p.seq, p.clone())).collect();
    }

    fn judge(&mut self, now: Micros) -> Result<(), String> {
        let holders = &self.holders;
        self.releases.retain(|release| {
            let held = holders.count(&release.cid, Some(&release.left));
            let same = holders.rev_of(&release.cid) == Some(release.rev);
            same && held < release.min
        });
        let surely = |r: &&Release| {
            let held = holders.count(&r.cid, Some(&r.left));
            held + holders.unseen_since(&r.left, r.since) < r.min
        };
        let due = self.releases.iter().filter(|r| r.since + LOOK_US < now);
        match { due }.find(surely) {
            None => Ok(()),
            Some(release) => Err(format!(
                "{} was taken from a peer as of rev {}, and of {:?} only {} hold it, of at least {}",
                release.cid,
                release.rev,
                release.left,
                self.holders.count(&release.cid, Some(&release.left)),
                release.min
            )),
        }
    }
}

impl Invariant for MakeBeforeBreak {
    fn name(&self) -> &'static str {
        "make-before-break"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        match seen {
            Seen::Wiped { peer } | Seen::Emptied { peer } => {
                self.holders.wipe(*peer);
                self.releases.clear();
                self.lost = Some(Loss::Fresh);
                Ok(())
            }
            Seen::State { peer, view, .. } => {
                let newer = view.system.rev > self.holders.rev;
                self.holders.see(*peer, view);
                if newer {
                    self.note_releases(view);
                }
                match self.lost {
                    Some(Loss::Until(end)) if view.at > end => self.lost = None,
                    Some(Loss::Until(_)) => self.releases.clear(),
                    Some(Loss::Fresh) => {
                        self.releases.clear();
                        self.lost = Some(Loss::Until(view.at + WORD_US));
                    }
                    None => {}
                }
                self.judge(view.at)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::{members, peer, pin, state};

    fn look(host: HostId, rev: u64, allocations: &[usize], held: bool) -> Seen {
        let mut pin = pin(1, rev, (1, 1));
        pin.allocations = allocations.iter().map(|n| peer(*n)).collect();
        state(host, rev, |view| {
            view.at = rev * 2_000_000;
            view.members = members(2);
            view.held = Some(held.then_some(pin.spec.cid).into_iter().collect());
            view.pins = vec![pin];
        })
    }

    /// Whether all is well when the replacement is looked at `after` the release too, or not.
    fn verdict(replacement_holds: bool, after: bool) -> bool {
        let machines = Machines([(peer(1), 1), (peer(2), 2)].into());
        let mut invariant = MakeBeforeBreak::new(machines);
        let mut looks = vec![
            look(1, 1, &[1], true),
            look(1, 2, &[1, 2], true),
            look(2, 2, &[1, 2], replacement_holds),
            look(1, 3, &[2], true),
        ];
        looks.extend(after.then(|| look(2, 3, &[2], replacement_holds)));
        let mut well = looks.iter().all(|seen| invariant.check(seen).is_ok());
        // Time passes, nothing changes.
        let later = state(1, 3, |view| view.at = 100_000_000);
        well &= invariant.check(&later).is_ok();
        well
    }

    #[test]
    fn a_release_before_the_replacement_holds_is_found() {
        assert!(verdict(true, true));
        assert!(!verdict(false, true));
        assert!(
            verdict(false, false),
            "it may have held it when it was asked"
        );
    }
}
