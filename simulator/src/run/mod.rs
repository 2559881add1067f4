//! One run: a scenario and a seed make a history, a trace and a verdict.
//!
//! `setup` builds the world, `forming` starts the cluster, `timeline` lets faults happen,
//! `supervise` starts again what has given up, `settle` says when everything is well again (and
//! `settled` what that means), `judge` compares promises with what is.

mod forming;
mod judge;
mod settle;
mod settled;
mod setup;
mod supervise;
mod timeline;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use self::{supervise::Supervisor, timeline::Timeline};
use crate::{
    faults::Injector,
    history::Answer,
    host::Host,
    invariants::{Invariants, Violation},
    ipfs::NodeSlot,
    observe::{Observer, Seen, View},
    panics,
    peer::{Cluster, Slot},
    process,
    report::{Recorder, Recording, lacking},
    scenario::Scenario,
    simulation::Simulation,
    span::Span,
    workload::Workload,
    world::{HostId, Micros, Trace},
};

/// Between two looks at how many threads there are, and at what everything takes.
const PROCESS_EVERY_US: Micros = 1_000_000;

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
    /// What was seen of all peers, for the page.
    pub recording: Recording,
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
    supervisor: Supervisor,
    cluster: Arc<Cluster>,
    /// Peers of another cluster.
    foreign: Vec<Slot>,
    /// Machines that are no peers: they start first.
    helpers: Vec<HostId>,
    library: NodeSlot,
    /// The last look at each peer.
    views: BTreeMap<HostId, Arc<View>>,
    /// Peers told to leave, and whether the cluster has confirmed it.
    leaving: BTreeMap<HostId, Arc<AtomicBool>>,
    /// Peers that have lost their disk and are no members again yet.
    empty: BTreeSet<HostId>,
    story: Vec<String>,
    recorder: Recorder,
}

fn violated(property: &'static str, what: String) -> Violation {
    Violation { property, what }
}

fn failed(error: &io::Error) -> Violation {
    violated("simulator", error.to_string())
}

/// Runs a scenario. Puts the calling thread on virtual time.
pub fn run(mut scenario: Scenario, seed: u64, trace: Trace) -> Report {
    let mut run = setup::build(&mut scenario, seed, trace);
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
        self.recorder.tell(now, what);
        self.sim.world().note(format_args!("tell {what}"));
    }

    fn play(&mut self, scenario: &Scenario) -> Result<(), Violation> {
        self.form(scenario.peers)?;
        let start = self.sim.now();
        let end = start + micros(scenario.lasts.0);
        let mut timeline = Timeline::new(&scenario.faults, start);
        let mut leader = self.workload.leader();
        while self.sim.now() < end {
            self.let_happen(&mut timeline)?;
            self.workload.step(&self.sim);
            for (cid, at) in self.workload.take_asked() {
                self.see(Seen::Asked { cid, at })?;
            }
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
        process::note_progress(self.sim.now());
        if let Some(panic) = panics::take().first() {
            return Err(violated("no-panic", panic.clone()));
        }
        for seen in self.observer.step(&self.sim) {
            self.see(seen)?;
        }
        if self.sim.now().is_multiple_of(PROCESS_EVERY_US) {
            process::check_threads();
            self.weigh()?;
        }
        self.recorder.step(&self.sim, self.workload.history());
        self.supervise()
    }

    fn see(&mut self, seen: Seen) -> Result<(), Violation> {
        self.invariants.check(&seen)?;
        match &seen {
            Seen::Wiped { peer } => _ = self.empty.insert(*peer),
            Seen::Raft { peer, .. } => _ = self.empty.remove(peer),
            _ => {}
        }
        if let Seen::State { peer, view, .. } = seen {
            self.views.insert(peer, view);
            let up = |host| self.sim.host(host).is_some_and(Host::is_up);
            let pins = lacking(&self.views, &self.cluster.machines(), up);
            self.recorder.note_lacking(pins);
        }
        Ok(())
    }

    /// Looks at what everybody has open, and at the memory of all.
    fn weigh(&mut self) -> Result<(), Violation> {
        for peer in self.injector.roster().clone() {
            let (connections, bytes) = self.sim.world().lock().network.load(peer);
            self.see(Seen::Load {
                peer,
                connections,
                bytes,
            })?;
        }
        self.see(Seen::Memory {
            bytes: process::memory(),
            machines: self.injector.roster().len() + self.foreign.len() + self.helpers.len(),
        })
    }

    fn report(self, seed: u64, violation: Option<Violation>) -> Report {
        let history = self.workload.history().lock();
        let done = history.iter().filter(|r| {
            let answer = r.answer.as_ref().map(|(_, answer)| answer);
            !matches!(answer, None | Some(Answer::Refused))
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
            recording: self.recorder.finish(),
        }
    }
}

fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 4)
}
