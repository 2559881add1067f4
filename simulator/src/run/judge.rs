//! The end: what clients were promised, against what there is.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::id::Cid;

use super::{Run, micros, violated};
use crate::{invariants::Violation, oracle, workload::cid};

/// Within which all pinsets must have been read.
const READING_MAX: Duration = Duration::from_secs(60);

impl Run {
    /// What clients were promised, against what there is.
    pub(super) fn judge(&mut self) -> Result<(), Violation> {
        // The states are looked at once a second.
        let until = self.sim.now() + 2_000_000;
        while self.sim.now() < until {
            self.step()?;
        }
        self.observer.read_pinsets(&self.sim);
        let deadline = self.sim.now() + micros(READING_MAX);
        while !self.observer.has_all_pinsets() || self.pinsets.len() < self.injector.peers() {
            if self.sim.now() >= deadline {
                return Err(violated("converges", "a pinset cannot be read".to_owned()));
            }
            self.step()?;
        }
        let mut all = self.pinsets.iter();
        let Some((first, pins)) = all.next() else {
            return Ok(());
        };
        if let Some((other, _)) = all.find(|(_, p)| *p != pins) {
            let what = format!("peers {first} and {other} show different pinsets");
            return Err(violated("equal-state", what));
        }
        let history = self.workload.history().lock().clone();
        let last = history.iter().map(|r| r.cid).max().unwrap_or(0);
        let numbers: BTreeMap<Cid, u64> = (1..=last).filter_map(|n| Some((cid(n)?, n))).collect();
        let pins = pins
            .iter()
            .map(|(cid, rev)| (numbers.get(cid).copied(), *rev))
            .collect();
        oracle::judge(&history, &pins, self.state, self.sim.now())
    }
}
