//! Clients: they pin, unpin and read through any peer, and write down what they are told.

use std::{sync::Arc, time::Duration};

use ipfs_cluster_node::consensus::{Consensus, ProposeError, Role};
use ipfs_cluster_protocol::{
    command::{Command, Envelope, IfRev, Outcome},
    id::Cid,
    pin::{PinSpec, Replication},
    state::{System, query},
};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::{
    history::{Answer, Ask, History, Request},
    peer::{Cluster, Slot},
    scenario::WorkloadPlan,
    simulation::Simulation,
    world::{HostId, Micros, Rng, World, now},
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests to which no answer has come, at most.
const OPEN_MAX: usize = 256;

/// The content of this number: raw bytes' CID, as no peer has to hold it.
#[must_use]
pub fn cid(number: u64) -> Option<Cid> {
    let digest = Sha256::digest(number.to_be_bytes());
    let mut bytes = vec![0x01, 0x55, 0x12, 0x20];
    bytes.extend_from_slice(&digest);
    Cid::from_bytes(&bytes).ok()
}

/// Sends requests at random moments.
#[derive(Debug)]
pub struct Workload {
    plan: WorkloadPlan,
    rng: Rng,
    cluster: Arc<Cluster>,
    slots: Vec<Slot>,
    history: History,
    next_at: Micros,
}

impl Workload {
    /// Clients of these peers.
    #[must_use]
    pub fn new(seed: u64, plan: WorkloadPlan, cluster: Arc<Cluster>, slots: Vec<Slot>) -> Self {
        Self {
            plan,
            rng: Rng::new(seed, "workload"),
            cluster,
            slots,
            history: History::default(),
            next_at: 0,
        }
    }

    /// What was asked and answered.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Sends what is due.
    pub fn step(&mut self, sim: &Simulation) {
        let rate = self.plan.writes_per_second + self.plan.reads_per_second;
        if rate == 0 {
            return;
        }
        self.next_at = self.next_at.max(sim.now().saturating_sub(1_000_000));
        while self.next_at <= sim.now() {
            self.next_at += self.rng.between(0, 2_000_000 / rate);
            if self.waiting() < OPEN_MAX {
                self.send(sim, rate);
            }
        }
    }

    /// Of the last requests, those without an answer.
    fn waiting(&self) -> usize {
        let history = self.history.lock();
        let last = history.iter().rev().take(OPEN_MAX);
        last.filter(|r| r.answer.is_none()).count()
    }

    fn send(&mut self, sim: &Simulation, rate: u64) {
        let number = self.rng.between(1, self.plan.cids);
        let ask = match self.rng.between(0, rate - 1) {
            n if n >= self.plan.writes_per_second => Ask::Read,
            _ if self.rng.chance(300_000) => Ask::Unpin,
            _ => Ask::Pin,
        };
        let hosts: Vec<HostId> = (1..=self.slots.len()).collect();
        let Some(mut peer) = self.rng.pick(&hosts).copied() else {
            return;
        };
        // Most writers know who leads, or somebody who does.
        if ask != Ask::Read && self.rng.chance(800_000) {
            peer = self.leader_as_seen_by(peer).unwrap_or(peer);
        }
        let up = sim.host(peer).filter(|host| host.is_up());
        let consensus = self.slots.get(peer - 1).and_then(Slot::get);
        let (Some(host), Some(consensus), Some(cid)) = (up, consensus, cid(number)) else {
            return;
        };
        let request = Request {
            peer,
            cid: number,
            ask,
            from: sim.now(),
            answer: None,
        };
        let client = Client {
            number: self.history.begin(request),
            consensus,
            cid,
            ask,
            history: self.history.clone(),
            world: sim.world().clone(),
        };
        host.spawn(client.run());
    }

    fn leader_as_seen_by(&self, peer: HostId) -> Option<HostId> {
        let consensus = self.slots.get(peer - 1)?.get()?;
        let leader = consensus.status().borrow().leader.clone()?;
        self.cluster.host(&leader)
    }

    /// Who leads: of those who say so, the one with the highest term.
    #[must_use]
    pub fn leader(&self) -> Option<HostId> {
        let terms = self.slots.iter().zip(1..).filter_map(|(slot, host)| {
            let status = slot.get()?.status().borrow().clone();
            (status.role == Role::Leader).then_some((status.term, host))
        });
        terms.max().map(|(_, host)| host)
    }
}

struct Client {
    number: usize,
    consensus: Consensus,
    cid: Cid,
    ask: Ask,
    history: History,
    world: World,
}

impl Client {
    async fn run(self) {
        let asked = async {
            match self.ask {
                Ask::Pin => {
                    let spec = PinSpec::new(self.cid, Replication::Everywhere);
                    let command = Command::Pin {
                        spec,
                        allocations: Vec::new(),
                        if_rev: IfRev::Any,
                    };
                    self.write(command).await
                }
                Ask::Unpin => self.write(Command::Unpin { cid: self.cid }).await,
                Ask::Read => self.read().await,
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or(None);
        let (n, ask, cid) = (self.number, self.ask, self.cid);
        self.world
            .note(format_args!("client {n} {ask:?} {cid}: {answer:?}"));
        if let Some(answer) = answer {
            self.history.end(n, now(), answer);
        }
    }

    /// None when it is not known what became of it.
    async fn write(&self, command: Command) -> Option<Answer> {
        let ticket = self.consensus.sessions().begin();
        let envelope = Envelope {
            session: ticket.session(),
            command,
        };
        match self.consensus.propose(envelope).await {
            Ok(committed) => Some(match committed.outcome {
                Outcome::Applied { rev } | Outcome::AlreadyAt { rev } => Answer::Done {
                    index: committed.index,
                    rev,
                },
                Outcome::Rejected(ipfs_cluster_protocol::command::Rejection::NotPinned) => {
                    Answer::NotPinned
                }
                Outcome::Conflict { .. } | Outcome::Rejected(_) => Answer::Refused,
            }),
            Err(ProposeError::Unknown) => None,
            Err(_) => Some(Answer::Refused),
        }
    }

    async fn read(&self) -> Option<Answer> {
        let deadline = Instant::now() + PATIENCE;
        if self.consensus.read_barrier(deadline).await.is_err() {
            return Some(Answer::Refused);
        }
        let cid = self.cid;
        let read = self.consensus.state().read(move |state| {
            let stored = query::stored_by_cid(state, &cid)?;
            let system = System::load(state)?;
            let rev = stored.and_then(|s| {
                let rev = s.rev();
                s.live().map(|_| rev)
            });
            Ok((rev, system.rev))
        });
        let (pin, state) = read.await.ok()?;
        Some(Answer::Seen { pin, state })
    }
}
