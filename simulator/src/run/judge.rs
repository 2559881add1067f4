//! The end: what clients were promised, against what there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ipfs_cluster_protocol::{id::Rev, pin::Pin};

use super::{Run, micros, violated};
use crate::{
    history::{self, Tag},
    invariants::Violation,
    observe::View,
    oracle,
    world::{HostId, Micros},
};

/// The peers are looked at once a second.
const LOOK: Duration = Duration::from_secs(3);
/// How long their states may take to be looked at with nothing in between: pins that end by themselves
/// go on ending.
const STILL: Duration = Duration::from_secs(30);

impl Run {
    /// What clients were promised, against what there is.
    pub(super) fn judge(&mut self) -> Result<(), Violation> {
        let start = self.sim.now();
        let (look, still) = (start + micros(LOOK), start + micros(STILL));
        while self.sim.now() < look || (self.sim.now() < still && !self.seen_at_once(start)) {
            self.step()?;
        }
        let mut all = self.seen_since(start).into_iter();
        let Some((first, view)) = all.next() else {
            return Ok(());
        };
        let revs = |pins: &[Pin]| {
            let pins = pins.iter().map(|pin| (pin.spec.cid, pin.rev));
            pins.collect::<BTreeMap<_, _>>()
        };
        let pins = revs(&view.pins);
        if let Some((other, _)) = all.find(|(_, other)| revs(&other.pins) != pins) {
            let what = format!("peers {first} and {other} show different pinsets");
            return Err(violated("equal-state", what));
        }
        let numbers = self.workload.numbers();
        let pins = view.pins.iter().map(|pin| {
            let number = numbers.get(&pin.spec.cid).copied();
            (number, Tag::of_name(&pin.spec.name))
        });
        let pins = pins.collect();
        self.strangers_are_apart()?;
        let mut history = self.workload.history().lock().clone();
        history::inherit_ends(&mut history);
        let given_up = oracle::judge(&history, &pins, self.sim.now())?;
        if given_up > 0 {
            self.tell(&format!("{given_up} CIDs took too long to judge"));
        }
        Ok(())
    }

    /// The last looks at the peers, as far as they are that new.
    fn seen_since(&self, start: Micros) -> Vec<(HostId, Arc<View>)> {
        let roster = self.injector.roster().iter();
        let seen = roster.filter_map(|peer| Some((*peer, self.views.get(peer)?.clone())));
        seen.filter(|(_, view)| view.at > start).collect()
    }

    /// Whether the last looks all saw the same version of the state.
    fn seen_at_once(&self, start: Micros) -> bool {
        let seen = self.seen_since(start).into_iter();
        let revs: BTreeSet<Rev> = seen.map(|(_, view)| view.system.rev).collect();
        revs.len() <= 1
    }

    /// The peers of another cluster have met nobody of this one.
    fn strangers_are_apart(&self) -> Result<(), Violation> {
        let ours = self.cluster.machines();
        for slot in &self.foreign {
            let Some(consensus) = slot.get() else {
                let what = "a peer of the other cluster does not run".to_owned();
                return Err(violated("clusters-stay-apart", what));
            };
            let members = consensus.members().borrow().clone();
            let status = consensus.status().borrow().clone();
            if let Some(peer) = members.keys().find(|peer| ours.contains_key(*peer)) {
                let what = format!("{peer} is a member of the other cluster");
                return Err(violated("clusters-stay-apart", what));
            }
            if members.len() != self.foreign.len() || status.leader.is_none() {
                let what = format!("the other cluster has {} members", members.len());
                return Err(violated("clusters-stay-apart", what));
            }
        }
        Ok(())
    }
}
