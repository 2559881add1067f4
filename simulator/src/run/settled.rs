//! What must come true once the faults are over, in the order in which it can: each condition has
//! a name of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use ipfs_cluster_node::consensus::{RaftStatus, Role};
use ipfs_cluster_protocol::{
    id::PeerId,
    pin::{Holding, Pin},
};

use super::{Run, violated};
use crate::{
    interpose,
    invariants::Violation,
    observe::View,
    scenario::EXPIRY_INTERVAL,
    world::{HostId, Micros},
};

/// A client that has waited longer will not be answered: its connection is gone.
const WAITING_US: Micros = 13_000_000;

type Views = BTreeMap<HostId, Arc<View>>;

impl Run {
    /// Says what is still amiss. Looks from before `since` do not count.
    pub(super) fn settled(&self, since: Micros) -> Result<(), Violation> {
        let unmet = |property, what: String| Err(violated(property, what));
        let Some(statuses) = self.observer.statuses(self.injector.roster()) else {
            return unmet("all-serve", "a peer does not run, or recovers".to_owned());
        };
        one_leader(&statuses)?;
        let history = self.workload.history().lock();
        let open = history.iter().filter(|r| r.answer.is_none());
        let waiting = open
            .filter(|r| r.from + WAITING_US > self.sim.now())
            .count();
        drop(history);
        if waiting > 0 {
            return unmet("clients-are-answered", format!("{waiting} clients wait"));
        }
        if let Some((peer, _)) = self
            .leaving
            .iter()
            .find(|(_, l)| !l.load(Ordering::Relaxed))
        {
            return unmet("peers-leave", format!("peer {peer} was not let go"));
        }
        equal_logs(&statuses)?;
        let views: Views = self
            .injector
            .roster()
            .iter()
            .filter_map(|peer| Some((*peer, self.views.get(peer)?.clone())))
            .filter(|(_, view)| view.at > since)
            .collect();
        if views.len() < self.injector.roster().len() {
            return unmet("all-serve", "a peer was not looked at yet".to_owned());
        }
        self.same_members(&views)?;
        nothing_is_overdue(&views)?;
        if self.workload.has_content() {
            self.pins_are_held(&views)?;
        }
        tables_agree(&views)
    }

    /// The members are those that take part.
    fn same_members(&self, views: &Views) -> Result<(), Violation> {
        let ids = self
            .injector
            .roster()
            .iter()
            .filter_map(|p| self.cluster.id(*p));
        let expected: BTreeSet<PeerId> = ids.collect();
        for (peer, view) in views {
            let members: BTreeSet<PeerId> = view.members.iter().map(|m| m.peer.clone()).collect();
            if members != expected {
                let what = format!("peer {peer} knows members {members:?}, not {expected:?}");
                return Err(violated("members-are-those-that-run", what));
            }
            if let Some(member) = view.members.iter().find(|m| m.down_since.is_some()) {
                let what = format!("peer {peer} believes {} down", member.peer);
                return Err(violated("nobody-is-down", what));
            }
        }
        Ok(())
    }

    /// Every pin is allocated within its bounds, to members, and their IPFS nodes have it.
    fn pins_are_held(&self, views: &Views) -> Result<(), Violation> {
        let Some(state) = views.values().next() else {
            return Ok(());
        };
        let machines = self.cluster.machines();
        for pin in &state.pins {
            let due = self.due(pin, state.members.len(), &machines)?;
            for peer in due {
                let held = views.get(&peer).and_then(|view| view.held.as_ref());
                if !held.is_some_and(|held| held.contains(&pin.spec.cid)) {
                    let said = self.observer.says_of(peer, pin.seq);
                    let said = said.as_deref().unwrap_or("nothing");
                    let what = format!(
                        "peer {peer} does not hold pin {} ({}) of {:?}, and says of it: {said}",
                        pin.seq, pin.spec.cid, pin.allocations
                    );
                    return Err(violated("pins-are-held", what));
                }
            }
        }
        Ok(())
    }

    /// Who must hold a pin; an error when that is not whom it should be.
    fn due(
        &self,
        pin: &Pin,
        members: usize,
        machines: &BTreeMap<PeerId, HostId>,
    ) -> Result<BTreeSet<HostId>, Violation> {
        let roster = self.injector.roster();
        let (min, max) = match pin.spec.holding() {
            Holding::Nobody => return Ok(BTreeSet::new()),
            Holding::Everywhere => return Ok(roster.clone()),
            Holding::Allocated { min, max } => (min as usize, max as usize),
        };
        let known = |peer: &PeerId| machines.get(peer).copied();
        let due: BTreeSet<HostId> = pin.allocations.iter().filter_map(known).collect();
        // A cluster that has become too small keeps as many copies as it has members.
        let least = min.min(members);
        if !(least..=max).contains(&due.len()) || !due.is_subset(roster) {
            let what = format!(
                "pin {} ({}) is at peers {due:?}, wanted at {min} to {max} of {roster:?}",
                pin.seq, pin.spec.cid
            );
            return Err(violated("pins-are-at-their-factor", what));
        }
        Ok(due)
    }
}

fn one_leader(statuses: &BTreeMap<HostId, RaftStatus>) -> Result<(), Violation> {
    let leaders: Vec<HostId> = statuses
        .iter()
        .filter(|(_, status)| status.role == Role::Leader)
        .map(|(peer, _)| *peer)
        .collect();
    let followed: BTreeSet<_> = statuses.values().map(|status| &status.leader).collect();
    if leaders.len() == 1 && followed.len() == 1 {
        return Ok(());
    }
    let what = format!("peers {leaders:?} lead, {} are followed", followed.len());
    Err(violated("one-leader", what))
}

/// What was to end by itself has ended.
fn nothing_is_overdue(views: &Views) -> Result<(), Violation> {
    let slack = 2 * u64::try_from(EXPIRY_INTERVAL.as_millis()).unwrap_or(u64::MAX / 4);
    for (peer, view) in views {
        let now = interpose::wall_ms(view.at);
        let overdue = |pin: &&Pin| pin.spec.expire_at.is_some_and(|at| at.0 + slack < now);
        if let Some(pin) = view.pins.iter().find(overdue) {
            let what = format!(
                "peer {peer} has pin {} ({}), which was to end by {:?}",
                pin.seq, pin.spec.cid, pin.spec.expire_at
            );
            return Err(violated("expired-pins-go", what));
        }
    }
    Ok(())
}

fn equal_logs(statuses: &BTreeMap<HostId, RaftStatus>) -> Result<(), Violation> {
    let ends = statuses.values().map(|s| (s.last_index, s.applied));
    let ends: BTreeSet<_> = ends.collect();
    match ends.first() {
        Some((last, applied)) if ends.len() == 1 && last == applied => Ok(()),
        _ => {
            let what = format!("logs end, and are applied, at {ends:?}");
            Err(violated("equal-logs", what))
        }
    }
}

/// Every peer has the same version of every table, as of the same state.
fn tables_agree(views: &Views) -> Result<(), Violation> {
    let mut all = views.iter();
    let Some((first, view)) = all.next() else {
        return Ok(());
    };
    match all.find(|(_, other)| other.tables != view.tables) {
        None => Ok(()),
        Some((other, _)) => {
            let what = format!("peers {first} and {other} have different status tables");
            Err(violated("tables-converge", what))
        }
    }
}
