//! One run: a scenario and a seed make a history, a trace and a verdict.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use ipfs_cluster_protocol::id::{Cid, LogIndex, Rev};

use crate::{
    faults::Injector,
    invariants::{Invariants, Violation},
    observe::{Observer, Seen},
    oracle, panics,
    peer::{Cluster, Peer, Slot},
    scenario::Scenario,
    simulation::Simulation,
    span::Span,
    workload::{Workload, cid},
    world::{HostId, Micros, Rng, Trace},
};

/// Within which a new cluster must have all its members.
const FORMING_MAX: Duration = Duration::from_secs(60);
/// After it has exited with an error, a peer is started again by its supervisor.
const SUPERVISOR_PAUSE_US: Micros = 2_000_000;

/// Between two looks at how many threads there are.
const THREADS_EVERY_US: Micros = 1_000_000;

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Virtual time that passed.
    pub lasted: Span,
    /// Lines of the trace.
    pub events: u64,
    /// Hash of the trace.
    pub trace: String,
    /// What did not hold.
    pub violation: Option<Violation>,
    /// What happened, in words, with the virtual time.
    pub story: Vec<String>,
    /// Requests and how many were answered with success.
    pub requests: (usize, usize),
}

impl Report {
    /// The last line of a run's output.
    #[must_use]
    pub fn summary(&self) -> String {
        let verdict = match &self.violation {
            None => "ok".to_owned(),
            Some(violation) => format!("VIOLATED {}", violation.property),
        };
        format!(
            "seed {} · virtual {} · events {} · trace {} · {verdict}",
            self.seed, self.lasted, self.events, self.trace
        )
    }
}

struct Run {
    sim: Simulation,
    observer: Observer,
    invariants: Invariants,
    workload: Workload,
    injector: Injector,
    /// When peers that have given up start again.
    restarts: BTreeMap<HostId, Micros>,
    pinsets: BTreeMap<HostId, Vec<(Cid, Rev)>>,
    state: Rev,
    story: Vec<String>,
}

fn violated(property: &'static str, what: String) -> Violation {
    Violation { property, what }
}

fn failed(error: &io::Error) -> Violation {
    violated("simulator", error.to_string())
}

/// Runs a scenario. Puts the calling thread on virtual time.
pub fn run(mut scenario: Scenario, seed: u64, trace: Trace) -> Report {
    let mut sim = Simulation::new(seed, trace);
    scenario.draw(&mut Rng::new(seed, "scenario"));
    let link = scenario.network.link();
    sim.world().lock().network.links().set_usual(link);
    let cluster = Arc::new(Cluster::generate(scenario.peers));
    let slots: Vec<Slot> = (0..scenario.peers).map(|_| Slot::default()).collect();
    for (slot, host) in slots.iter().zip(1..) {
        let peer = Peer::new(host, cluster.clone(), slot.clone());
        sim.add(format!("peer{host}"), peer);
    }
    let plan = scenario.workload.clone();
    let mut run = Run {
        sim,
        observer: Observer::new(slots.clone()),
        invariants: Invariants::default(),
        workload: Workload::new(seed, plan, cluster, slots),
        injector: Injector::new(seed, scenario.peers, link),
        restarts: BTreeMap::new(),
        pinsets: BTreeMap::new(),
        state: Rev(0),
        story: Vec::new(),
    };
    let violation = run.play(&scenario).err();
    if let Some(violation) = &violation {
        run.tell(&format!("VIOLATED {violation}"));
    }
    run.report(seed, violation)
}

impl Run {
    fn tell(&mut self, what: &str) {
        let now = self.sim.now();
        let at = format!("{:>5}.{:03}", now / 1_000_000, now / 1_000 % 1_000);
        self.story.push(format!("{at} {what}"));
        self.sim.world().note(format_args!("tell {what}"));
    }

    fn play(&mut self, scenario: &Scenario) -> Result<(), Violation> {
        self.form(scenario.peers)?;
        let start = self.sim.now();
        let end = start + micros(scenario.lasts.0);
        let mut faults = scenario.faults.iter().peekable();
        let mut leader = self.workload.leader();
        while self.sim.now() < end {
            while let Some(timed) = faults.next_if(|f| start + micros(f.at.0) <= self.sim.now()) {
                let text = self
                    .injector
                    .apply(&mut self.sim, &timed.fault, self.workload.leader())
                    .map_err(|e| failed(&e))?;
                self.tell(&text);
            }
            self.workload.step(&self.sim);
            self.step()?;
            let now = self.workload.leader();
            if now != leader && now.is_some() {
                leader = now;
                self.tell(&format!("peer {} leads", now.unwrap_or_default()));
            }
        }
        self.settle(scenario)?;
        self.judge()
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.sim.step();
        crate::process::note_progress(self.sim.now());
        if self.sim.now().is_multiple_of(THREADS_EVERY_US) {
            crate::process::check_threads();
        }
        if let Some(panic) = panics::take().first() {
            return Err(violated("no-panic", panic.clone()));
        }
        for seen in self.observer.step(&self.sim) {
            self.invariants.check(&seen)?;
            match seen {
                Seen::Pinset { peer, pins } => {
                    self.pinsets.insert(peer, pins);
                }
                Seen::State { system, .. } => self.state = self.state.max(system.rev),
                Seen::Raft { .. } => {}
            }
        }
        self.supervise()
    }

    /// Programs that end with an error are started again, as a supervisor would.
    fn supervise(&mut self) -> Result<(), Violation> {
        for (host, exit) in self.sim.take_exits() {
            self.tell(&format!("peer {host} exits: {exit:?}"));
            self.sim.crash(host, crate::disk::Crash::Kill, false);
            self.restarts
                .insert(host, self.sim.now() + SUPERVISOR_PAUSE_US);
        }
        let now = self.sim.now();
        while let Some(first) = self.restarts.first_entry() {
            if *first.get() > now {
                break;
            }
            let host = first.remove_entry().0;
            self.sim.boot(host).map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    /// Starts everybody; ends when everybody is a member.
    fn form(&mut self, peers: usize) -> Result<(), Violation> {
        for host in 1..=peers {
            self.sim.boot(host).map_err(|e| failed(&e))?;
        }
        let deadline = self.sim.now() + micros(FORMING_MAX);
        while self.observer.applied().is_none() || self.workload.leader().is_none() {
            if self.sim.now() >= deadline {
                let what = format!("no cluster of {peers} peers within {FORMING_MAX:?}");
                return Err(violated("cluster-forms", what));
            }
            self.step()?;
        }
        let leader = self.workload.leader().unwrap_or_default();
        self.tell(&format!("{peers} peers are members, peer {leader} leads"));
        Ok(())
    }

    /// Everything is well again; so must the cluster be, in time.
    fn settle(&mut self, scenario: &Scenario) -> Result<(), Violation> {
        self.injector
            .heal_all(&mut self.sim)
            .map_err(|e| failed(&e))?;
        self.tell("everything is well again");
        let deadline = self.sim.now() + micros(scenario.settle.0);
        while let Err(unmet) = self.converged() {
            if self.sim.now() >= deadline {
                let what = format!("{} after the faults: {unmet}", scenario.settle);
                return Err(violated("converges", what));
            }
            self.step()?;
        }
        self.tell("all peers are equal");
        Ok(())
    }

    /// What is still amiss.
    fn converged(&self) -> Result<(), String> {
        if self.workload.leader().is_none() {
            return Err("nobody leads".to_owned());
        }
        let applied = self
            .observer
            .applied()
            .ok_or("a peer does not run, or recovers")?;
        let open = self.workload.history().lock();
        let waiting = open.iter().filter(|r| r.answer.is_none());
        let recent = waiting.filter(|r| r.from + 10_000_000 > self.sim.now());
        if recent.count() > 0 {
            return Err("clients wait".to_owned());
        }
        let all: Vec<u64> = applied.iter().map(|LogIndex(index)| *index).collect();
        if all.iter().all(|index| Some(index) == all.first()) {
            Ok(())
        } else {
            Err(format!("the peers have applied {all:?}"))
        }
    }

    /// What clients were promised, against what there is.
    fn judge(&mut self) -> Result<(), Violation> {
        // The states are looked at once a second.
        let until = self.sim.now() + 2_000_000;
        while self.sim.now() < until {
            self.step()?;
        }
        self.observer.read_pinsets(&self.sim);
        let deadline = self.sim.now() + micros(FORMING_MAX);
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

    fn report(self, seed: u64, violation: Option<Violation>) -> Report {
        let history = self.workload.history().lock();
        let done = history.iter().filter(|r| {
            let answer = r.answer.map(|(_, answer)| answer);
            !matches!(answer, None | Some(crate::history::Answer::Refused))
        });
        let requests = (history.len(), done.count());
        drop(history);
        let lasted = Span(Duration::from_millis(self.sim.now() / 1_000));
        let mut world = self.sim.world().lock();
        let story = self.story;
        if let Err(error) = world.trace.flush() {
            tracing::error!(%error, "the trace file is incomplete");
        }
        Report {
            seed,
            lasted,
            events: world.trace.events(),
            trace: world.trace.hash(),
            violation,
            story,
            requests,
        }
    }
}

fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 4)
}
