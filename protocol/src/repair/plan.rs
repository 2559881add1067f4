//! From needs to steps: most at risk first, within a budget, replacements before releases.

use std::collections::BTreeMap;

use super::{
    MemberHealth,
    guard::Guard,
    need::{Need, Urgency, assess},
};
use crate::{
    command::Command,
    id::{PeerId, Rev, Seq},
    pin::Pin,
    placement::{self, CandidateView, PlacementError, PlacementRequest, Promised},
};

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    members: BTreeMap<&'a PeerId, &'a MemberHealth>,
    /// How long a pin stays with a peer that is down.
    pub grace_ms: u64,
    /// Whether all may be repaired, or the last copies alone.
    pub guard: &'a Guard,
    /// Who can take copies.
    pub view: &'a CandidateView,
}

impl<'a> Situation<'a> {
    /// Of these members.
    #[must_use]
    pub fn new(
        members: &'a [MemberHealth],
        grace_ms: u64,
        guard: &'a Guard,
        view: &'a CandidateView,
    ) -> Self {
        let members = members.iter().map(|member| (&member.peer, member));
        Self {
            members: members.collect(),
            grace_ms,
            guard,
            view,
        }
    }

    pub(super) fn member(&self, peer: &PeerId) -> Option<&'a MemberHealth> {
        self.members.get(peer).copied()
    }

    fn permits(&self, urgency: Urgency) -> bool {
        *self.guard == Guard::Proceed || urgency == Urgency::LastCopy
    }
}

/// One thing to do about one pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Propose this placement: it adds peers, or only forgets removed ones.
    Make(Box<Command>),
    /// Ask the peers whether they hold it, then see [`release`].
    Release(Release),
}

/// Peers to ask before others may be let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which pin.
    pub seq: Seq,
    /// As of which change of it.
    pub rev: Rev,
    /// Whom to ask (`holds`).
    pub ask: Vec<PeerId>,
}

/// What to do about some pins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairPlan {
    /// In order.
    pub steps: Vec<(Urgency, Step)>,
    /// What the guard or the budget holds back.
    pub waiting: Vec<(Seq, Urgency)>,
    /// Pins that lack copies that nobody can take.
    pub stuck: Vec<(Seq, PlacementError)>,
}

/// Plans for a page of pins. At most `budget` pins get new peers; releases are not counted, they
/// move no data. `departed` says that the pins come from a removed member's set: then a pin that
/// lacks nothing is placed as it is, which takes it out of the set.
#[must_use]
pub fn plan(pins: &[Pin], situation: &Situation<'_>, departed: bool, budget: usize) -> RepairPlan {
    let mut plan = RepairPlan::default();
    let mut needs = Vec::new();
    for pin in pins {
        match assess(pin, situation) {
            Some(need) => needs.push((pin, need)),
            None if departed => {
                let settled = place(pin, pin.allocations.clone());
                plan.steps
                    .push((Urgency::Surplus, Step::Make(Box::new(settled))));
            }
            None => {}
        }
    }
    needs.sort_by_key(|(pin, need)| (need.urgency, need.up.len(), pin.seq));
    let mut left = budget;
    // What this plan gives to a peer is promised to it for what follows.
    let mut view = situation.view.clone();
    for (pin, need) in &needs {
        if !situation.permits(need.urgency) {
            plan.waiting.push((pin.seq, need.urgency));
        } else if need.missing == 0 {
            plan.ask(pin, need);
        } else if left == 0 {
            plan.waiting.push((pin.seq, need.urgency));
        } else {
            view = view.needing(pin.spec.size);
            let added = plan.make(pin, need, situation, &view);
            left -= usize::from(!added.is_empty());
            for peer in &added {
                view.promise(peer, Promised::to(pin.spec.size));
            }
        }
    }
    plan.steps.sort_by_key(|(urgency, _)| *urgency);
    plan
}

impl RepairPlan {
    /// Adds replacements; none where nobody has room for one.
    fn make(
        &mut self,
        pin: &Pin,
        need: &Need,
        situation: &Situation<'_>,
        view: &CandidateView,
    ) -> Vec<PeerId> {
        let request = PlacementRequest {
            cid: &pin.spec.cid,
            replication: pin.spec.replication,
            user_allocations: &pin.spec.user_allocations,
            current: &need.staying,
            excluded: &need.leaving,
        };
        let added = placement::more(&request, &need.staying, need.missing, view);
        if added.is_empty() {
            let error = PlacementError::NotEnoughPeers {
                needed: need.minimum.saturating_sub(need.staying.len()),
                wanted: need.missing,
                available: 0,
            };
            self.stuck.push((pin.seq, error));
            // A draining peer may still go where enough others hold it.
            if need.urgency == Urgency::Draining {
                self.ask(pin, need);
            }
            return added;
        }
        let members = |peer: &&PeerId| situation.member(peer).is_some();
        let mut allocations: Vec<_> = pin.allocations.iter().filter(members).cloned().collect();
        allocations.extend(added.iter().cloned());
        let command = place(pin, allocations);
        self.steps
            .push((need.urgency, Step::Make(Box::new(command))));
        added
    }

    fn ask(&mut self, pin: &Pin, need: &Need) {
        if need.up.len() < need.minimum.max(1) {
            return;
        }
        let release = Release {
            seq: pin.seq,
            rev: pin.rev,
            ask: need.up.clone(),
        };
        self.steps.push((need.urgency, Step::Release(release)));
    }
}

/// The release of whom a pin no longer needs, once enough of its peers `confirmed` that they hold
/// it; none when they are too few, or when there is nobody to let go.
///
/// All copies wanted must be confirmed, except those of peers that are down for less than the
/// grace, and those that nobody can take while a peer drains; never fewer than the minimum.
#[must_use]
pub fn release(pin: &Pin, situation: &Situation<'_>, confirmed: &[PeerId]) -> Option<Command> {
    let need = assess(pin, situation)?;
    let (sure, unsure): (Vec<_>, Vec<_>) = need
        .staying
        .iter()
        .cloned()
        .partition(|peer| need.up.contains(peer) && confirmed.contains(peer));
    let silent = need.staying.len() - need.up.len();
    let reachable = match (need.missing, need.urgency) {
        (0, _) => need.wanted,
        (_, Urgency::Draining) => need.staying.len(),
        _ => return None,
    };
    let required = reachable.saturating_sub(silent).max(need.minimum).max(1);
    if sure.len() < required {
        return None;
    }
    // The sure ones are kept first; who is only silent keeps its place where there is one left.
    let mut keep: Vec<PeerId> = sure.iter().take(need.wanted).cloned().collect();
    keep.extend(
        unsure
            .into_iter()
            .take(need.wanted.saturating_sub(keep.len())),
    );
    let stays = |peer: &&PeerId| keep.contains(peer);
    let allocations: Vec<_> = pin.allocations.iter().filter(stays).cloned().collect();
    if allocations.len() == pin.allocations.len() {
        return None;
    }
    Some(Command::Place {
        seq: pin.seq,
        if_rev: pin.rev,
        allocations,
        confirmed: sure,
    })
}

/// A placement that lets no member go.
fn place(pin: &Pin, allocations: Vec<PeerId>) -> Command {
    Command::Place {
        seq: pin.seq,
        if_rev: pin.rev,
        allocations,
        confirmed: Vec::new(),
    }
}
