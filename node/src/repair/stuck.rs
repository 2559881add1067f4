//! Pins that lack copies and that nobody can take: told as an alert about the peer that they are to
//! leave, or about the leader where they are to leave none.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    id::{Cid, PeerId},
    state::PinSet,
};

use crate::monitor::Monitor;

/// The name of the alert.
const ALERT: &str = "repair";

/// What the passes over the sets of pins have found.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    passes: BTreeMap<PinSet, Pass>,
    told: BTreeSet<PeerId>,
}

/// A pass over one set, page by page.
#[derive(Debug)]
struct Pass {
    about: PeerId,
    /// In the pages of the present pass.
    so_far: u64,
    /// In the whole pass before it.
    found: u64,
    example: Option<Cid>,
}

impl Stuck {
    /// Takes in a page of a set: how many of its pins nobody can take, one of them, and whether it
    /// is the last page.
    pub(super) fn observe(
        &mut self,
        set: PinSet,
        about: &PeerId,
        (pins, example): (usize, Option<Cid>),
        last: bool,
    ) {
        let pass = self.passes.entry(set).or_insert_with(|| Pass {
            about: about.clone(),
            so_far: 0,
            found: 0,
            example: None,
        });
        pass.so_far += u64::try_from(pins).unwrap_or(u64::MAX);
        pass.example = example.or(pass.example);
        if last {
            pass.found = std::mem::take(&mut pass.so_far);
        }
    }

    /// Raises and clears alerts; only these sets are still looked at.
    pub(super) fn tell(&mut self, sets: &BTreeSet<PinSet>, monitor: &Monitor) {
        self.passes.retain(|set, _| sets.contains(set));
        let now = self.alerts();
        for peer in self.told.iter().filter(|peer| !now.contains_key(*peer)) {
            monitor.clear(ALERT, peer);
        }
        self.told = now.keys().cloned().collect();
        for (peer, text) in now {
            monitor.raise(ALERT, &peer, text);
        }
    }

    /// Pins that nobody can take.
    pub(super) fn count(&self) -> u64 {
        self.passes.values().map(|pass| pass.found).sum()
    }

    fn alerts(&self) -> BTreeMap<PeerId, String> {
        let mut found: BTreeMap<&PeerId, (u64, Option<Cid>)> = BTreeMap::new();
        for pass in self.passes.values().filter(|pass| pass.found > 0) {
            let (pins, example) = found.entry(&pass.about).or_default();
            *pins += pass.found;
            *example = example.or(pass.example);
        }
        let text = |(pins, example): (u64, Option<Cid>)| {
            let example = example.map_or(String::new(), |cid| format!(", {cid} among them"));
            format!(
                "{pins} pins lack copies that no peer can take{example}: add peers or space, or \
                 pin them with lower factors"
            )
        };
        found
            .into_iter()
            .map(|(peer, found)| (peer.clone(), text(found)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;

    #[test]
    fn a_whole_pass_counts_and_the_next_one_replaces_it() {
        let mut stuck = Stuck::default();
        stuck.observe(PinSet::Unsettled, &peer(1), (2, None), false);
        assert!(stuck.alerts().is_empty(), "the pass is not over");
        stuck.observe(PinSet::Unsettled, &peer(1), (1, None), true);
        assert_eq!(stuck.count(), 3);
        let alerts = stuck.alerts();
        assert!(alerts[&peer(1)].starts_with("3 pins lack copies"));
        stuck.observe(PinSet::Unsettled, &peer(1), (0, None), true);
        assert_eq!(stuck.count(), 0);
        assert!(stuck.alerts().is_empty());
    }
}
