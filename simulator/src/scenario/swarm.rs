//! Swarm testing: a scenario that leaves everything to the seed. Each run has some kinds of faults
//! and not others, a network and time-outs of its own: what never goes wrong together with
//! everything else may well go wrong alone.

use std::{collections::BTreeSet, time::Duration};

use super::{Fault, Scenario, Timed, Tuning, Weather};
use crate::{span::Span, world::Rng};

/// Parts of a million.
const HALF: u64 = 500_000;
/// How many runs have a kind of fault.
const KIND: u64 = 600_000;

fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

impl Scenario {
    /// Draws peers, network, time-outs and workload, if this scenario leaves them to the seed.
    pub fn draw_setting(&mut self, seed: u64) {
        if !self.drawn {
            return;
        }
        let mut rng = Rng::new(seed, "swarm");
        // Small clusters are quick and find most.
        let peers = [3, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7, 8, 9];
        self.peers = rng.pick(&peers).copied().unwrap_or(3);
        self.network = weather(&mut rng);
        self.tuning = tuning(&mut rng);
        self.tuning.wan = self.network.latency_ms.1 > 10;
        self.random_fault_every = Some(seconds(rng.between(2, 12)));
        self.workload.writes_per_second = rng.between(2, 40);
        self.workload.reads_per_second = rng.between(1, 15);
        self.workload.cids = *rng.pick(&[3, 10, 40, 200]).unwrap_or(&40);
    }

    /// Adds the faults that are drawn from the seed.
    pub fn draw(&mut self, rng: &mut Rng) {
        let Some(every) = self.random_fault_every else {
            return;
        };
        let every = millis(every).max(1);
        let end = millis(self.lasts);
        let mut at = 5_000;
        let mut down = BTreeSet::new();
        let kinds = rng.draw();
        loop {
            at += rng.between(every / 4, every * 7 / 4);
            if at >= end {
                break;
            }
            let before = down.clone();
            let fault = Fault::draw(rng, self, &mut down);
            if self.drawn && !takes_part(&fault, kinds) {
                down = before;
                continue;
            }
            let at = Span(Duration::from_millis(at));
            self.faults.push(Timed { at, fault });
        }
        self.faults.sort_by_key(|f| f.at);
    }
}

/// Whether a kind of fault belongs to a run. What mends always does.
fn takes_part(fault: &Fault, kinds: u64) -> bool {
    let mends = matches!(fault, Fault::Heal | Fault::Restart { .. });
    let name = format!("{fault:?}");
    let kind = name.split(' ').next().unwrap_or_default();
    mends || Rng::new(kinds, kind).chance(KIND)
}

fn weather(rng: &mut Rng) -> Weather {
    let latency_ms = match rng.between(0, 9) {
        0..=5 => (1, rng.between(1, 4)),
        6..=7 => (1, rng.between(5, 10)),
        _ => (rng.between(5, 20), rng.between(20, 80)),
    };
    let percent = |rng: &mut Rng, most: u32| {
        if rng.chance(HALF) {
            f64::from(u32::try_from(rng.between(0, u64::from(most))).unwrap_or(0)) / 100.0
        } else {
            0.0
        }
    };
    Weather {
        latency_ms,
        loss_percent: percent(rng, 200),
        reset_percent: percent(rng, 5),
        mbit: *rng.pick(&[10, 100, 1_000]).unwrap_or(&1_000),
    }
}

fn tuning(rng: &mut Rng) -> Tuning {
    Tuning {
        repair_grace: seconds(*rng.pick(&[2, 5, 15, 60, 300]).unwrap_or(&300)),
        ping_interval: seconds(*rng.pick(&[1, 2, 5, 15]).unwrap_or(&15)),
        recover_interval: seconds(*rng.pick(&[5, 30, 300]).unwrap_or(&300)),
        wan: false,
        log_kib: *rng.pick(&[16, 64, 256 << 10]).unwrap_or(&(256 << 10)),
    }
}

fn millis(span: Span) -> u64 {
    u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(seed: u64) -> Scenario {
        let mut scenario = Scenario::load("swarm").unwrap();
        scenario.draw_setting(seed);
        scenario.draw(&mut Rng::new(seed, "scenario"));
        scenario.check().unwrap();
        scenario
    }

    #[test]
    fn seeds_draw_sensible_and_different_runs() {
        let drawn: Vec<Scenario> = (0..200).map(swarm).collect();
        let peers: BTreeSet<usize> = drawn.iter().map(|s| s.peers).collect();
        assert_eq!(peers, (3..=9).collect());
        let graces: BTreeSet<Span> = drawn.iter().map(|s| s.tuning.repair_grace).collect();
        assert_eq!(graces.len(), 5);
        assert!(drawn.iter().any(|s| s.tuning.wan));
        assert!(drawn.iter().filter(|s| s.faults.len() > 5).count() > 100);
        assert_eq!(format!("{:?}", swarm(7)), format!("{:?}", swarm(7)));
    }

    #[test]
    fn each_run_has_some_kinds_of_faults_and_not_others() {
        let crash = Fault::Blackout {
            kind: super::super::CrashKind::Kill,
        };
        let with = (0..1_000).filter(|kinds| takes_part(&crash, *kinds));
        assert!((500..700).contains(&with.count()));
        assert!((0..1_000).all(|kinds| takes_part(&Fault::Heal, kinds)));
    }
}
