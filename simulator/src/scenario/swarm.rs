//! Swarm testing: a scenario that leaves everything to the seed. Each run has some kinds of faults
//! and not others, a network and time-outs of its own: what never goes wrong together with
//! everything else may well go wrong alone.

use std::{collections::BTreeSet, time::Duration};

use super::{Between, CrashKind, Fault, Scenario, Timed, Tuning, Weather, Who, Zone};
use crate::{span::Span, world::Rng};

/// Parts of a million.
const HALF: u64 = 500_000;
const SOME: u64 = 300_000;
/// How many faults of a run are of a rare kind.
const RARE: u64 = 120_000;
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
        self.random_fault_every = Some(seconds(rng.between(2, 12)));
        self.draw_workload(&mut rng);
        if rng.chance(SOME) {
            self.kubo = usize::try_from(rng.between(1, self.peers as u64)).unwrap_or(1);
        }
        if rng.chance(SOME) {
            self.draw_zones(&mut rng);
        }
        let between = self.between.iter().map(|b| b.weather.latency_ms.1);
        let slowest = between.chain([self.network.latency_ms.1]).max();
        self.tuning.wan = slowest > Some(10);
    }

    /// Has so many peers instead; zones and Kubos of those that are not there go with them.
    pub fn resize(&mut self, peers: usize) {
        self.peers = peers;
        self.kubo = self.kubo.min(peers);
        for zone in &mut self.zones {
            zone.peers.retain(|peer| *peer <= peers);
        }
    }

    fn draw_workload(&mut self, rng: &mut Rng) {
        let work = &mut self.workload;
        work.writes_per_second = rng.between(1, 12);
        work.reads_per_second = rng.between(1, 8);
        work.cids = *rng.pick(&[3, 10, 40, 100]).unwrap_or(&40);
        work.libp2p_percent = *rng.pick(&[0, 10, 50]).unwrap_or(&10);
        work.user_allocations_percent = *rng.pick(&[0, 10, 40]).unwrap_or(&10);
        work.expiring_percent = *rng.pick(&[0, 5, 20]).unwrap_or(&5);
        let factors = [(0, 0), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (-1, -1)];
        work.replication = factors
            .into_iter()
            .filter(|(min, _)| usize::try_from(*min).is_ok_and(|min| min <= self.peers) || *min < 0)
            .filter(|_| rng.chance(HALF))
            .collect();
        if work.replication.is_empty() {
            work.replication.push((0, 0));
        }
    }

    /// Two or three zones, farther from each other than their peers are.
    fn draw_zones(&mut self, rng: &mut Rng) {
        let count = if self.peers > 4 { rng.between(2, 3) } else { 2 };
        let names = ["eu", "us", "asia"].map(str::to_owned);
        let names = names.into_iter().take(usize::try_from(count).unwrap_or(2));
        let names: Vec<String> = names.collect();
        self.zones = names
            .iter()
            .zip(0..)
            .map(|(name, at)| Zone {
                name: name.clone(),
                peers: (1..=self.peers).filter(|p| p % names.len() == at).collect(),
            })
            .collect();
        for (at, one) in names.iter().enumerate() {
            for other in names.iter().skip(at + 1) {
                let low = rng.between(2, 20);
                let weather = Weather {
                    latency_ms: (low, low + rng.between(1, 10)),
                    mbit: 100,
                    ..self.network.clone()
                };
                self.between.push(Between {
                    zones: (one.clone(), other.clone()),
                    weather,
                });
            }
        }
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
        let mut rare = Rare::default();
        loop {
            at += rng.between(every / 4, every * 7 / 4);
            if at >= end {
                break;
            }
            let before = down.clone();
            let drawn = self.drawn && rng.chance(RARE);
            let fault = if drawn {
                rare.draw(rng, self, &mut down)
            } else {
                None
            };
            let fault = fault.unwrap_or_else(|| Fault::draw(rng, self, &mut down));
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

/// What a run may have only so much of, or it would lose what no cluster can keep.
#[derive(Debug, Default)]
struct Rare {
    wiped: bool,
    joined: usize,
    left: usize,
}

impl Rare {
    fn draw(
        &mut self,
        rng: &mut Rng,
        setting: &Scenario,
        down: &mut BTreeSet<usize>,
    ) -> Option<Fault> {
        let kind = if rng.chance(HALF) {
            CrashKind::PowerLoss
        } else {
            CrashKind::Kill
        };
        let zone = rng.pick(&setting.zones).cloned();
        match rng.between(0, 5) {
            0 if !self.wiped && down.is_empty() => {
                self.wiped = true;
                let peer = Who::Follower;
                Some(Fault::Wipe { peer })
            }
            1 => zone.map(|zone| Fault::CutZone { zone: zone.name }),
            2 if down.is_empty() => zone.map(|zone| {
                down.extend(&zone.peers);
                let zone = zone.name;
                Fault::LoseZone { zone, kind }
            }),
            3 if self.joined < 2 => {
                self.joined += 1;
                Some(Fault::Join)
            }
            4 if self.left == 0 && setting.peers > 3 && down.is_empty() => {
                self.left += 1;
                let (peer, drain) = (Who::Follower, rng.chance(HALF));
                Some(Fault::Leave { peer, drain })
            }
            5 => Some(Fault::Burst {
                pins: rng.between(50, 400),
            }),
            _ => None,
        }
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
        write_timeout: Tuning::default().write_timeout,
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
            kind: CrashKind::Kill,
        };
        let with = (0..1_000).filter(|kinds| takes_part(&crash, *kinds));
        assert!((500..700).contains(&with.count()));
        assert!((0..1_000).all(|kinds| takes_part(&Fault::Heal, kinds)));
    }
}
