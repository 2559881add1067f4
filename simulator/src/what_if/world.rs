//! The pins, where their copies are, and the cluster's planner at work on them.

use std::{collections::VecDeque, time::Duration};

use ipfs_cluster_protocol::{
    command::Command,
    id::{PeerId, Seq},
    limits::LIST_PAGE_PINS,
    pin::{Holding, Pin},
    placement::{CandidateView, Promised, Standing},
    repair::{Guard, MemberHealth, Situation, Step, guard, plan, release},
};

use super::{Answer, Assumptions, PinSet, timeline::Trouble};
use crate::scenario::{Fault, Scenario};

/// One peer.
#[derive(Debug)]
struct Peer {
    id: PeerId,
    /// Since when nobody has reached it.
    silent_since: Option<u64>,
    /// Pins on their way to it, and how many bytes of the first are there.
    arriving: VecDeque<usize>,
    arrived_bytes: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct World<'a> {
    scenario: &'a Scenario,
    assumptions: &'a Assumptions,
    pins: Vec<Pin>,
    /// Bytes of each.
    bytes: Vec<u64>,
    /// Who holds each pin, a bit per peer.
    holders: Vec<u64>,
    peers: Vec<Peer>,
    trouble: Trouble,
    cursor: usize,
    budget: f64,
    answer: Answer,
    /// Whether the last look at all pins found nothing to do.
    idle: bool,
}

fn bit(peer: usize) -> u64 {
    1 << peer
}

impl<'a> World<'a> {
    pub(super) fn new(set: &PinSet, scenario: &'a Scenario, assumptions: &'a Assumptions) -> Self {
        let everybody = (0..set.peers.len()).fold(0, |all, peer| all | bit(peer));
        let place = |peer: &PeerId| set.peers.iter().position(|p| p == peer);
        let holders = set.pins.iter().map(|pin| match pin.spec.holding() {
            Holding::Nobody => 0,
            Holding::Everywhere => everybody,
            Holding::Allocated { .. } => {
                let places = pin.allocations.iter().filter_map(place);
                places.fold(0, |all, peer| all | bit(peer))
            }
        });
        let bytes = |pin: &Pin| {
            let known = assumptions.sizes.get(&pin.spec.cid).copied();
            known.unwrap_or(assumptions.pin_bytes)
        };
        Self {
            holders: holders.collect(),
            bytes: set.pins.iter().map(bytes).collect(),
            pins: set.pins.clone(),
            peers: set
                .peers
                .iter()
                .map(|id| Peer {
                    id: id.clone(),
                    silent_since: None,
                    arriving: VecDeque::new(),
                    arrived_bytes: 0,
                })
                .collect(),
            scenario,
            assumptions,
            trouble: Trouble::default(),
            cursor: 0,
            budget: 0.0,
            answer: Answer::default(),
            idle: false,
        }
    }

    pub(super) fn happens(&mut self, second: u64, fault: &Fault) {
        let peers = self.peers.len();
        if let Some(text) = self.trouble.apply(fault, self.scenario, peers) {
            self.answer.story.push((second, text));
        }
    }

    fn within_reach(&self) -> u64 {
        let peers = 0..self.peers.len();
        let reached = peers.filter(|peer| self.trouble.reaches(peer + 1));
        reached.fold(0, |all, peer| all | bit(peer))
    }

    /// A second passes.
    pub(super) fn second(&mut self, second: u64) {
        let reach = self.within_reach();
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if reach & bit(at) == 0 {
                peer.silent_since.get_or_insert(second);
            } else {
                peer.silent_since = None;
            }
        }
        self.copy(reach);
        self.count(reach);
        let quorum = reach.count_ones() as usize * 2 > self.peers.len();
        if quorum {
            self.repair(second);
        }
    }

    /// Bytes arrive at whoever waits for some.
    fn copy(&mut self, reach: u64) {
        let rate = self.scenario.network.mbit * 125_000;
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if reach & bit(at) == 0 {
                continue;
            }
            let mut left = rate;
            while let Some(first) = peer.arriving.front().copied() {
                // Somebody else must have it, within reach.
                if self.holders.get(first).is_none_or(|h| h & reach == 0) {
                    peer.arriving.rotate_left(1);
                    break;
                }
                let all = self.bytes.get(first).copied().unwrap_or(0);
                let lacks = all.saturating_sub(peer.arrived_bytes);
                let now = lacks.min(left);
                left -= now;
                peer.arrived_bytes += now;
                self.answer.bytes_moved += now;
                if now < lacks {
                    break;
                }
                if let Some(holders) = self.holders.get_mut(first) {
                    *holders |= bit(at);
                }
                peer.arriving.pop_front();
                peer.arrived_bytes = 0;
            }
        }
    }

    /// Pins with one copy within reach, and with none.
    fn count(&mut self, reach: u64) {
        let (mut one, mut none) = (0, 0);
        for (pin, holders) in self.pins.iter().zip(&self.holders) {
            if matches!(pin.spec.holding(), Holding::Nobody) {
                continue;
            }
            match (holders & reach).count_ones() {
                0 => none += 1,
                1 if pin.copies != 1 => one += 1,
                _ => {}
            }
        }
        self.answer.at_risk = self.answer.at_risk.max(one);
        self.answer.unreachable = self.answer.unreachable.max(none);
    }

    fn health(&self, second: u64) -> Vec<MemberHealth> {
        let ttl = 2 * self.scenario.tuning.ping_interval.0.as_secs();
        let health = |peer: &Peer| {
            let silent = peer.silent_since.map(|since| second - since);
            MemberHealth {
                peer: peer.id.clone(),
                down_for_ms: silent
                    .filter(|silent| *silent >= ttl)
                    .map(|silent| (silent - ttl) * 1_000),
                draining: false,
                answers: silent.is_none(),
            }
        };
        self.peers.iter().map(health).collect()
    }

    /// A page of the planner's work, as the leader does it.
    fn repair(&mut self, second: u64) {
        let health = self.health(second);
        let judged = guard(&health, false);
        if let Guard::Paused { reason, .. } = &judged {
            let text = format!("repair is paused: {reason}");
            if self.answer.paused.as_ref() != Some(&text) {
                self.answer.story.push((second, text.clone()));
                self.answer.paused = Some(text);
            }
        }
        let mut view = CandidateView::new(Vec::new());
        for member in &health {
            let up = member.down_for_ms.is_none() && member.answers;
            let standing = if up { Standing::Up } else { Standing::Down };
            view.add(member.peer.clone(), standing, Promised::default(), |_| None);
        }
        let grace_ms = u64::try_from(self.scenario.tuning.repair_grace.0.as_millis());
        let situation = Situation::new(&health, grace_ms.unwrap_or(u64::MAX), &judged, &view);
        self.earn();
        let page = self.page();
        let pins: Vec<Pin> = page
            .iter()
            .filter_map(|at| self.pins.get(*at).cloned())
            .collect();
        let planned = plan(&pins, &situation, false, self.affordable());
        self.idle = planned.steps.is_empty() && (self.idle || self.cursor == 0);
        for (_, step) in planned.steps {
            match step {
                Step::Make(command) => {
                    self.budget -= 1.0;
                    self.place(*command);
                }
                Step::Release(question) => {
                    let pin = pins.iter().find(|pin| pin.seq == question.seq);
                    let sure = self.holding(question.seq, &question.ask);
                    let command = pin.and_then(|pin| release(pin, &situation, &sure));
                    if let Some(command) = command {
                        self.place(command);
                    }
                }
            }
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to an integer saturates, and the budget is small"
    )]
    fn affordable(&self) -> usize {
        self.budget.max(0.0) as usize
    }

    fn earn(&mut self) {
        let rate = self.assumptions.pins_per_second;
        self.budget = (self.budget + rate).min(rate.max(1.0));
    }

    /// The next pins to look at: all of a page that are not as they should be.
    fn page(&mut self) -> Vec<usize> {
        let reach = self.within_reach();
        let mut page = Vec::new();
        let mut at = self.cursor;
        while at < self.pins.len() && page.len() < LIST_PAGE_PINS {
            if self.lacks(at, reach) {
                page.push(at);
            }
            at += 1;
        }
        self.cursor = if at >= self.pins.len() { 0 } else { at };
        page
    }

    /// Whether a pin has other copies within reach than it should have.
    fn lacks(&self, at: usize, reach: u64) -> bool {
        let (Some(pin), Some(holders)) = (self.pins.get(at), self.holders.get(at)) else {
            return false;
        };
        match pin.spec.holding() {
            Holding::Nobody => false,
            Holding::Everywhere => holders & reach != reach,
            Holding::Allocated { .. } => {
                let copies = usize::try_from(pin.copies).unwrap_or(usize::MAX);
                (holders & reach).count_ones() < pin.copies || pin.allocations.len() != copies
            }
        }
    }

    fn place_of(&self, peer: &PeerId) -> Option<usize> {
        self.peers.iter().position(|p| p.id == *peer)
    }

    fn index(seq: Seq) -> Option<usize> {
        usize::try_from(seq.0).ok()?.checked_sub(1)
    }

    /// Who of those asked holds a pin.
    fn holding(&self, seq: Seq, ask: &[PeerId]) -> Vec<PeerId> {
        let holders = Self::index(seq).and_then(|at| self.holders.get(at));
        let holders = holders.copied().unwrap_or(0);
        let holds = |peer: &&PeerId| self.place_of(peer).is_some_and(|at| holders & bit(at) != 0);
        ask.iter().filter(holds).cloned().collect()
    }

    /// A placement as the log would have it: who is new fetches, who is left out lets go.
    fn place(&mut self, command: Command) {
        let Command::Place {
            seq, allocations, ..
        } = command
        else {
            return;
        };
        let Some(at) = Self::index(seq) else {
            return;
        };
        let wanted: Vec<usize> = allocations
            .iter()
            .filter_map(|p| self.place_of(p))
            .collect();
        let Some(holders) = self.holders.get_mut(at) else {
            return;
        };
        for peer in &wanted {
            let has = *holders & bit(*peer) != 0;
            if let Some(peer) = self.peers.get_mut(*peer)
                && !has
                && !peer.arriving.contains(&at)
            {
                peer.arriving.push_back(at);
            }
        }
        *holders &= wanted.iter().fold(0, |all, peer| all | bit(*peer));
        if let Some(pin) = self.pins.get_mut(at) {
            pin.allocations = allocations;
            pin.rev = pin.rev.next();
        }
    }

    /// Whether every pin that is not lost has its copies.
    pub(super) fn is_whole(&self) -> bool {
        let reach = self.within_reach();
        (0..self.pins.len()).all(|at| !self.lacks(at, reach) || self.is_lost(at))
    }

    /// Whether nothing more will happen by itself.
    pub(super) fn is_stuck(&self) -> bool {
        let reach = self.within_reach();
        let quorum = reach.count_ones() as usize * 2 > self.peers.len();
        let copying = self.peers.iter().any(|peer| !peer.arriving.is_empty());
        let paused = self.answer.paused.is_some();
        !copying && (!quorum || (self.idle && paused))
    }

    fn is_lost(&self, at: usize) -> bool {
        let running = (0..self.peers.len()).filter(|p| !self.trouble.stopped.contains(&(p + 1)));
        let running = running.fold(0, |all, peer| all | bit(peer));
        let holders = self.holders.get(at).copied().unwrap_or(0);
        let named = self.pins.get(at).map(|pin| pin.spec.holding());
        !matches!(named, Some(Holding::Nobody)) && holders & running == 0
    }

    pub(super) fn finish(mut self, healed_after: Option<Duration>) -> Answer {
        let lost = (0..self.pins.len()).filter(|at| self.is_lost(*at)).count();
        self.answer.lost = lost as u64;
        self.answer.healed_after = healed_after;
        self.answer
    }
}
