//! What a fault does to who is within reach.

use std::collections::BTreeSet;

use crate::scenario::{Fault, Scenario, Who};

/// Who does not run, and who is cut off from the leader's side. Peers count from 1.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) stopped: BTreeSet<usize>,
    pub(super) cut: BTreeSet<usize>,
}

impl Trouble {
    /// Whether the leader's side reaches a peer.
    pub(super) fn reaches(&self, peer: usize) -> bool {
        !self.stopped.contains(&peer) && !self.cut.contains(&peer)
    }

    fn resolve(&self, who: Who, peers: usize) -> usize {
        let mut within = (1..=peers).filter(|peer| self.reaches(*peer));
        match who {
            Who::Peer(n) => n,
            Who::Leader => within.next().unwrap_or(1),
            Who::Follower | Who::Any => within.next_back().unwrap_or(peers),
        }
    }

    /// Lets a fault happen; what it comes to, in words, unless it changes nothing here.
    pub(super) fn apply(
        &mut self,
        fault: &Fault,
        scenario: &Scenario,
        peers: usize,
    ) -> Option<String> {
        match fault {
            Fault::Isolate { peer } | Fault::Mute { peer } => {
                let peer = self.resolve(*peer, peers);
                self.cut.insert(peer);
                Some(format!("peer {peer} is cut off"))
            }
            Fault::Partition { side, .. } => {
                let mut near: BTreeSet<usize> =
                    side.iter().map(|who| self.resolve(*who, peers)).collect();
                if near.is_empty() {
                    near.extend(1..=(peers - 1) / 2);
                }
                // Whoever is fewer is cut off: the others go on.
                if near.len() * 2 > peers {
                    near = (1..=peers).filter(|peer| !near.contains(peer)).collect();
                }
                self.cut.extend(&near);
                Some(format!("peers {near:?} are cut off"))
            }
            Fault::Heal => {
                self.cut.clear();
                Some("all links pass".to_owned())
            }
            Fault::Crash { peer, .. } => {
                let peer = self.resolve(*peer, peers);
                self.stopped.insert(peer);
                Some(format!("peer {peer} stops"))
            }
            Fault::Blackout { .. } => {
                self.stopped.extend(1..=peers);
                Some("all peers stop".to_owned())
            }
            Fault::Restart { peer } => {
                match peer {
                    Some(who) => {
                        let peer = self.resolve(*who, peers);
                        self.stopped.remove(&peer);
                    }
                    None => self.stopped.clear(),
                }
                Some("whoever was stopped starts".to_owned())
            }
            _ => self.apply_to_zone(fault, scenario),
        }
    }

    fn apply_to_zone(&mut self, fault: &Fault, scenario: &Scenario) -> Option<String> {
        let topology = scenario.topology();
        match fault {
            Fault::CutZone { zone } => {
                self.cut.extend(topology.peers_of(zone));
                Some(format!("zone {zone} is cut off"))
            }
            Fault::LoseZone { zone, .. } => {
                self.stopped.extend(topology.peers_of(zone));
                Some(format!("zone {zone} is lost"))
            }
            _ => None,
        }
    }
}
