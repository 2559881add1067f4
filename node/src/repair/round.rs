//! The rounds of a leader: look at who is down, look at the pins of those, act, report.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipfs_cluster_protocol::{
    api::{repair as api, time::Time},
    command::Command,
    id::{MemberNo, PeerId, Seq},
    limits,
    repair::{Guard, MemberHealth, Situation, Urgency, guard, plan},
    state::{Member, PinSet, StoreError, query},
};
use tokio::time::Instant;

use super::{
    RepairParts, carry::Carrier, describe::describe, health::Health, situation::Downtimes,
    stuck::Stuck,
};
use crate::{cluster::wall_clock, worker::Stop};

/// Between two rounds while everything is well.
const CALM: Duration = Duration::from_secs(2);
/// Between two rounds while something is to be done.
const BUSY: Duration = Duration::from_millis(500);
/// How long removing a drained member may take.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// Runs until the peer stops.
pub(crate) async fn run(parts: RepairParts, mut stop: Stop) {
    let mut rounds = Rounds::new(parts);
    let mut pause = CALM;
    loop {
        let round = async {
            tokio::time::sleep(pause).await;
            if rounds.parts.leader.leads() {
                return rounds.round().await;
            }
            rounds.rest();
            CALM
        };
        // A round may wait for peers that stop as well: it is cut off, and the next leader looks
        // at the state anew.
        pause = tokio::select! {
            biased;
            () = stop.stopped() => return,
            pause = round => pause,
        };
    }
}

struct Rounds {
    parts: RepairParts,
    health: Health,
    downtimes: Downtimes,
    cursors: BTreeMap<PinSet, Seq>,
    budget: f64,
    last: Option<Instant>,
    moved: u64,
    paused: String,
    stuck: Stuck,
}

/// A set of pins to look at.
#[derive(Debug, Clone)]
struct Source {
    set: PinSet,
    departed: bool,
    /// The member that its pins are to leave.
    leaves: Option<PeerId>,
}

/// What a round found.
#[derive(Debug, Default)]
struct Found {
    urgent: u64,
    lacking: u64,
}

impl Rounds {
    fn new(parts: RepairParts) -> Self {
        let health = Health {
            leader: parts.leader.clone(),
            monitor: parts.monitor.clone(),
            net: parts.net.clone(),
        };
        Self {
            parts,
            health,
            downtimes: Downtimes::default(),
            cursors: BTreeMap::new(),
            budget: 0.0,
            last: None,
            moved: 0,
            paused: String::new(),
            stuck: Stuck::default(),
        }
    }

    /// Another peer leads: begin anew when this one does again.
    fn rest(&mut self) {
        if self.last.take().is_some() {
            self.stuck.tell(&BTreeSet::new(), &self.parts.monitor);
            *self = Self::new(self.parts.clone());
        }
    }

    /// Returns how long to wait for the next one.
    async fn round(&mut self) -> Duration {
        match self.try_round().await {
            Ok(pause) => pause,
            Err(e) => {
                tracing::warn!(error = %e, "repair cannot read the state");
                CALM
            }
        }
    }

    async fn try_round(&mut self) -> Result<Duration, crate::storage::ReadError> {
        let state = self.parts.consensus.state().clone();
        let members = state.read(query::members).await?;
        self.health.check(&members).await;
        describe(&self.parts.leader, &self.parts.monitor, &members).await;
        let (members, departed) = state
            .read(|s| Ok((query::members(s)?, query::departed(s)?)))
            .await?;
        self.downtimes.observe(&members, wall_clock());
        let net = self.parts.net.clone();
        let connected = net.connected();
        let answers = |peer: &_| peer == net.local_peer() || connected.contains(peer);
        let enabled = self.parts.settings.enabled;
        let health = self.downtimes.health(&members, enabled, answers);
        let guard = guard(&health, false);
        self.tell_guard(&guard);
        self.earn();
        let mut found = Found::default();
        let sources = sources(&members, &departed);
        for source in &sources {
            self.work_on(source, &health, &guard, &mut found).await?;
        }
        let sets = sources.iter().map(|source| source.set).collect();
        self.stuck.tell(&sets, &self.parts.monitor);
        for gone in departed.iter().filter(|d| d.to_sweep) {
            let sweep = Command::Sweep { member: gone.no };
            let _ = self.parts.leader.propose_own(sweep).await;
        }
        self.let_go_of_drained(&members).await?;
        self.report(&members, &health, &found).await?;
        let busy = found.lacking + found.urgent > 0
            || members.iter().any(|m| m.draining || m.down_since.is_some());
        Ok(if busy { BUSY } else { CALM })
    }

    /// One page of a set.
    async fn work_on(
        &mut self,
        source: &Source,
        health: &[MemberHealth],
        guard: &Guard,
        found: &mut Found,
    ) -> Result<(), crate::storage::ReadError> {
        let from = self.cursors.get(&source.set).copied().unwrap_or_default();
        let (state, set) = (self.parts.consensus.state(), source.set);
        let page = state
            .read(move |s| query::pins_of(s, set, from, limits::LIST_PAGE_PINS))
            .await?;
        self.cursors
            .insert(source.set, page.next.unwrap_or_default());
        let Ok(view) = self.parts.leader.candidates().await else {
            return Ok(());
        };
        let grace = self.parts.settings.grace;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let situation = Situation::new(health, grace_ms, guard, &view);
        let plan = plan(&page.items, &situation, source.departed, self.affordable());
        for urgency in plan
            .steps
            .iter()
            .map(|(u, _)| u)
            .chain(plan.waiting.iter().map(|(_, u)| u))
        {
            match urgency {
                Urgency::LastCopy | Urgency::BelowMinimum => found.urgent += 1,
                _ => found.lacking += 1,
            }
        }
        for (seq, reason) in &plan.stuck {
            found.urgent += 1;
            tracing::debug!(%seq, %reason, "pin lacks copies that nobody can take");
        }
        let example = plan.stuck.first().and_then(|(seq, _)| {
            let pin = page.items.iter().find(|pin| pin.seq == *seq)?;
            Some(pin.spec.cid)
        });
        let about = source.leaves.as_ref();
        let about = about.unwrap_or_else(|| self.parts.net.local_peer());
        let stuck = (plan.stuck.len(), example);
        self.stuck.observe(set, about, stuck, page.next.is_none());
        let carrier = Carrier {
            leader: &self.parts.leader,
            net: &self.parts.net,
        };
        let made = carrier.carry_out(plan.steps, &page.items, &situation).await;
        self.budget -= made as f64;
        self.moved += made;
        Ok(())
    }

    /// Earns what may be moved since the last round, at most a second's worth ahead.
    fn earn(&mut self) {
        let now = Instant::now();
        let rate = self.parts.settings.pins_per_second;
        let elapsed = self.last.map_or(1.0, |last| (now - last).as_secs_f64());
        self.budget = (self.budget + elapsed * rate).min(rate.max(1.0));
        self.last = Some(now);
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to an integer saturates, and the budget is small"
    )]
    fn affordable(&self) -> usize {
        self.budget.max(0.0) as usize
    }

    fn tell_guard(&mut self, guard: &Guard) {
        let paused = match guard {
            Guard::Proceed => String::new(),
            Guard::Paused { reason, peers } => {
                let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
                format!("{reason}: {}", peers.join(", "))
            }
        };
        if paused != self.paused {
            if paused.is_empty() {
                tracing::info!("repair goes on");
            } else {
                tracing::warn!(reason = paused, "repair is paused but for last copies");
            }
            self.paused = paused;
        }
    }

    /// A draining member that holds nothing by name any more leaves.
    async fn let_go_of_drained(&self, members: &[Member]) -> Result<(), crate::storage::ReadError> {
        for member in members.iter().filter(|m| m.draining) {
            if self.held_by(member.no).await? > 0 {
                continue;
            }
            tracing::info!(peer = %member.peer, name = member.name, "drained: it leaves");
            let deadline = Instant::now() + LEAVE_MAX;
            if let Err(reason) = self.parts.leader.leave(member.peer.clone(), deadline).await {
                tracing::warn!(peer = %member.peer, %reason, "drained, but it could not leave");
            }
        }
        Ok(())
    }

    async fn held_by(&self, no: MemberNo) -> Result<u64, crate::storage::ReadError> {
        let state = self.parts.consensus.state();
        let held =
            move |s: &dyn ipfs_cluster_protocol::state::StateRead| -> Result<u64, StoreError> {
                query::set_len(s, PinSet::Allocated(no))
            };
        state.read(held).await
    }

    async fn report(
        &self,
        members: &[Member],
        health: &[MemberHealth],
        found: &Found,
    ) -> Result<(), crate::storage::ReadError> {
        let grace = self.parts.settings.grace;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let mut peers = Vec::new();
        for (member, health) in members.iter().zip(health) {
            let (state, since, repair_at) = match (member.down_since, health.down_for_ms) {
                (Some(since), Some(down)) if down >= grace_ms => ("down", Some(since), None),
                (Some(since), _) => ("grace", Some(since), Some(since.plus_ms(grace_ms))),
                (None, _) if member.draining => ("draining", None, None),
                (None, _) => continue,
            };
            peers.push(api::RepairPeer {
                peer: member.peer.clone(),
                state: state.into(),
                since: Time::from_option(since),
                repair_at: Time::from_option(repair_at),
                pins: self.held_by(member.no).await?,
            });
        }
        self.parts.report.publish(api::Repair {
            leader: Some(self.parts.net.local_peer().clone()),
            enabled: self.parts.settings.enabled,
            paused: self.paused.clone(),
            urgent: found.urgent,
            lacking: found.lacking,
            stuck: self.stuck.count(),
            peers,
            moved: self.moved,
        });
        Ok(())
    }
}

/// Where pins that lack something are found.
fn sources(members: &[Member], departed: &[query::Departed]) -> Vec<Source> {
    let leaving = members
        .iter()
        .filter(|m| m.draining || m.down_since.is_some());
    let leaving = leaving.map(|m| Source {
        set: PinSet::Allocated(m.no),
        departed: false,
        leaves: Some(m.peer.clone()),
    });
    let departed = departed.iter().filter(|d| d.to_place > 0);
    let departed = departed.map(|d| Source {
        set: PinSet::Allocated(d.no),
        departed: true,
        leaves: None,
    });
    let unsettled = Source {
        set: PinSet::Unsettled,
        departed: false,
        leaves: None,
    };
    leaving.chain(departed).chain([unsettled]).collect()
}
