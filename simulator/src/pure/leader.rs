//! What a leader decides, from the state as it is at that moment.

use ipfs_cluster_protocol::{
    command::{Command, IfRev},
    id::{PeerId, Seq},
    pin::{Holding, Pin, PinSpec, Replication},
    placement::{self, CandidateView, PlacementRequest, Promised, Standing},
    repair::{MemberHealth, Release, Situation, Step, Urgency, guard, plan, release},
    state::{PinSet, query},
    time::Timestamp,
};

use super::{Checked, World, peer::ALL, violated};

/// How long a pin stays with a peer that is down.
const GRACE_MS: u64 = 3_000;

impl World {
    /// A user pins, or changes a pin.
    pub(super) fn pin(&mut self) {
        let cid = self.any_cid();
        let max = u32::try_from(self.rng.between(1, 4)).unwrap_or(1);
        let min = u32::try_from(self.rng.between(1, u64::from(max))).unwrap_or(1);
        let replication = if self.rng.chance(150_000) {
            Replication::Everywhere
        } else {
            Replication::Factor { min, max }
        };
        let mut spec = PinSpec::new(cid, replication);
        spec.name = format!("n{}", self.rng.between(0, 9));
        if self.rng.chance(200_000) {
            spec.expire_at = Some(Timestamp(self.clock + self.rng.between(0, 200_000)));
        }
        let Ok(current) = query::pin_by_cid(&self.model, &cid) else {
            return;
        };
        let if_rev = current
            .as_ref()
            .map_or(IfRev::Absent, |pin| IfRev::Is(pin.rev));
        let view = self.view();
        let request = PlacementRequest {
            cid: &cid,
            replication,
            user_allocations: &[],
            current: current.as_ref().map_or(&[], |pin| &pin.allocations),
            excluded: &[],
        };
        let Ok(allocations) = placement::place(&request, &view) else {
            return;
        };
        let origin = self.any_member();
        let command = Command::Pin {
            spec,
            allocations,
            if_rev,
        };
        self.decide(origin, command);
    }

    pub(super) fn unpin(&mut self) {
        let (cid, origin) = (self.any_cid(), self.any_member());
        self.decide(origin, Command::Unpin { cid });
    }

    /// The leader looks for pins whose time is over, by a clock that may be wrong.
    pub(super) fn expire(&mut self) {
        let now = Timestamp(self.clock + self.rng.between(0, 120_000));
        let due = query::expired(&self.model, now, ALL).unwrap_or_default();
        if let Some((seq, if_rev)) = self.rng.pick(&due).copied() {
            self.decide(0, Command::Expire { seq, if_rev });
        }
    }

    /// Peers go down and come back, begin and cease to drain.
    pub(super) fn health(&mut self) {
        let at = self.any_member();
        let (what, now) = (self.rng.between(0, 9), self.clock);
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        let peer = node.id.clone();
        let command = match what {
            // Peer 1 says everything that the others cannot.
            0..=3 if at != 0 && node.down_since.is_none() => {
                node.down_since = Some(now);
                Command::Down { peer }
            }
            4..=7 if node.down_since.is_some() => {
                node.down_since = None;
                Command::Up { peer }
            }
            8 => {
                node.draining = !node.draining;
                let on = node.draining;
                Command::Drain { peer, on }
            }
            _ => return,
        };
        self.decide(0, command);
    }

    /// A peer is removed for good, or one joins.
    pub(super) fn membership(&mut self) {
        let members = self.members();
        let outside: Vec<usize> = (0..self.nodes.len())
            .filter(|at| !members.contains(at))
            .collect();
        if members.len() > 3 && self.rng.chance(500_000) {
            let at = self.any_member();
            if at == 0 {
                return;
            }
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            node.member = false;
            let peer = node.id.clone();
            self.tables.forget(at);
            self.decide(0, Command::RemoveMember { peer, force: true });
        } else if let Some(at) = self.rng.pick(&outside).copied() {
            self.admit(at);
        }
    }

    fn view(&self) -> CandidateView {
        let mut view = CandidateView::new(Vec::new());
        for node in self.nodes.iter().filter(|node| node.member) {
            let standing = match (node.down_since, node.draining) {
                (Some(_), _) => Standing::Down,
                (None, true) => Standing::Draining,
                (None, false) => Standing::Up,
            };
            view.add(node.id.clone(), standing, Promised::default(), |_| None);
        }
        view
    }

    fn healths(&self) -> Vec<MemberHealth> {
        let members = query::members(&self.model).unwrap_or_default();
        let health = |id: &PeerId| {
            let node = self.nodes.iter().find(|node| node.id == *id)?;
            let down_for_ms = node.down_since.map(|since| self.clock - since);
            Some(MemberHealth {
                peer: id.clone(),
                down_for_ms,
                draining: node.draining,
                answers: down_for_ms.is_none(),
            })
        };
        members.iter().filter_map(|m| health(&m.peer)).collect()
    }

    /// A round of repair over one set of pins; puts its commands under way.
    pub(super) fn repair(&mut self) -> Checked {
        let sets = self.sets();
        if let Some((set, departed)) = self.rng.pick(&sets).copied() {
            self.repair_set(set, departed)?;
        }
        for gone in query::departed(&self.model).unwrap_or_default() {
            if gone.to_sweep && self.rng.chance(300_000) {
                self.decide(0, Command::Sweep { member: gone.no });
            }
        }
        Ok(())
    }

    /// The sets that repair looks at, and whether they are those of a removed member.
    pub(super) fn sets(&self) -> Vec<(PinSet, bool)> {
        let members = query::members(&self.model).unwrap_or_default();
        let departed = query::departed(&self.model).unwrap_or_default();
        let mut sets = vec![(PinSet::Unsettled, false)];
        sets.extend(members.iter().map(|m| (PinSet::Allocated(m.no), false)));
        sets.extend(departed.iter().map(|d| (PinSet::Allocated(d.no), true)));
        sets
    }

    /// Returns how many commands that gave.
    pub(super) fn repair_set(
        &mut self,
        set: PinSet,
        departed: bool,
    ) -> Result<usize, super::Violation> {
        let page = query::pins_of(&self.model, set, Seq(0), ALL);
        let pins = page.map_err(|e| violated("store", format!("{e:?}")))?.items;
        let (health, view) = (self.healths(), self.view());
        let judged = guard(&health, false);
        let situation = Situation::new(&health, GRACE_MS, &judged, &view);
        let steps = plan(&pins, &situation, departed, ALL).steps;
        let mut commands = Vec::new();
        for (urgency, step) in steps {
            match step {
                Step::Make(command) => {
                    check_guard(&health, &pins, urgency, &command)?;
                    commands.push(*command);
                }
                Step::Release(question) => {
                    let pin = pins.iter().find(|pin| pin.seq == question.seq);
                    let sure = pin.map_or(Vec::new(), |pin| self.sure(pin, &question));
                    commands.extend(pin.and_then(|pin| release(pin, &situation, &sure)));
                }
            }
        }
        let given = commands.len();
        for command in commands {
            self.decide(0, command);
        }
        Ok(given)
    }

    /// Who of those asked holds the pin now.
    fn sure(&self, pin: &Pin, question: &Release) -> Vec<PeerId> {
        let holds = |id: &&PeerId| {
            let node = self.nodes.iter().find(|node| node.id == **id);
            node.is_some_and(|node| {
                node.down_since.is_none() && node.holds(&pin.spec.cid, pin.spec.mode)
            })
        };
        question.ask.iter().filter(holds).cloned().collect()
    }
}

/// With too many peers down at once, only a pin with one live copy left is copied.
fn check_guard(
    health: &[MemberHealth],
    pins: &[Pin],
    urgency: Urgency,
    command: &Command,
) -> Checked {
    let down = health.iter().filter(|m| m.down_for_ms.is_some()).count();
    if down <= (health.len() / 3).max(1) {
        return Ok(());
    }
    let Command::Place {
        seq, allocations, ..
    } = command
    else {
        return Ok(());
    };
    let Some(pin) = pins.iter().find(|pin| pin.seq == *seq) else {
        return Ok(());
    };
    let up = |peer: &&PeerId| {
        let found = health.iter().find(|m| m.peer == **peer);
        found.is_some_and(|m| m.down_for_ms.is_none())
    };
    let live = pin.allocations.iter().filter(up).count();
    let adds = allocations
        .iter()
        .any(|peer| !pin.allocations.contains(peer));
    let spared = matches!(pin.spec.holding(), Holding::Allocated { .. }) && adds && live > 1;
    if spared {
        let what =
            format!("{down} peers are down, {urgency:?}: {seq} with {live} live copies is copied");
        return Err(violated("repair-keeps-the-guard", what));
    }
    Ok(())
}
