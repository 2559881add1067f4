//! A time of calm: nobody is down, nothing gets lost. Within few rounds everything must be well.

use ipfs_cluster_protocol::{
    command::Command,
    id::Seq,
    pin::{Holding, Pin},
    state::{check_invariants, query},
};

use super::{Checked, World, peer::ALL, violated};

/// Rounds of trackers and repair after which nothing may be left to do.
const ROUNDS_MAX: usize = 60;

impl World {
    /// Everybody comes back; then the promises are counted.
    pub(super) fn calm(&mut self) -> Checked {
        for at in self.members() {
            let Some(node) = self.nodes.get_mut(at) else {
                continue;
            };
            node.down_since = None;
            node.draining = false;
            let peer = node.id.clone();
            self.decide(0, Command::Up { peer: peer.clone() });
            self.decide(0, Command::Drain { peer, on: false });
        }
        // Members whose admission or removal got lost are asked for again.
        for at in 0..self.nodes.len() {
            self.ask_again(at);
        }
        self.drain()?;
        for _ in 0..ROUNDS_MAX {
            if self.round()? == 0 {
                return self.check_promises();
            }
        }
        let what = format!("there is still something to do after {ROUNDS_MAX} rounds");
        Err(violated("comes-to-rest", what))
    }

    fn ask_again(&mut self, at: usize) {
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        let (wanted, peer) = (node.member, node.id.clone());
        let is = query::member(&self.model, &peer).unwrap_or_default();
        match (wanted, is) {
            (true, None) => self.admit(at),
            (false, Some(_)) => self.decide(0, Command::RemoveMember { peer, force: true }),
            _ => {}
        }
    }

    fn drain(&mut self) -> Checked {
        while !self.queue.is_empty() {
            let next = self.queue.remove(0);
            self.apply(vec![next])?;
        }
        Ok(())
    }

    /// Everybody does all there is to do; returns how much that was.
    fn round(&mut self) -> Result<usize, super::Violation> {
        let mut done = 0;
        for at in self.members() {
            done += self.track_some(at, ALL)?;
        }
        done += self.queue.len();
        self.drain()?;
        for (set, departed) in self.sets() {
            done += self.repair_set(set, departed)?;
            self.drain()?;
        }
        for gone in query::departed(&self.model).unwrap_or_default() {
            if gone.to_sweep {
                self.decide(0, Command::Sweep { member: gone.no });
                done += 1;
            }
        }
        self.drain()?;
        Ok(done)
    }

    fn check_promises(&mut self) -> Checked {
        check_invariants(&self.model)
            .map_err(|fault| violated("sound-state", format!("{fault:?}")))?;
        let page = query::pins(&self.model, Seq(0), ALL, &|_| true);
        let pins = page.map_err(|e| violated("store", format!("{e:?}")))?.items;
        for pin in &pins {
            self.check_copies(pin)?;
        }
        self.check_tables()
    }

    fn check_copies(&self, pin: &Pin) -> Checked {
        let members: Vec<_> = self.nodes.iter().filter(|node| node.member).collect();
        let holders: Vec<_> = members
            .iter()
            .filter(|node| node.holds(&pin.spec.cid, pin.spec.mode))
            .collect();
        let (good, wanted) = match pin.spec.holding() {
            Holding::Nobody => return Ok(()),
            Holding::Everywhere => (holders.len(), members.len()),
            Holding::Allocated { .. } => {
                let good = holders
                    .iter()
                    .filter(|node| pin.allocations.contains(&node.id));
                let copies = usize::try_from(pin.copies).unwrap_or(usize::MAX);
                (good.count(), copies.min(members.len()))
            }
        };
        if good == wanted {
            return Ok(());
        }
        let what = format!("{} has {good} copies, not {wanted}: {pin:?}", pin.seq);
        Err(violated("pins-at-their-factor", what))
    }
}
