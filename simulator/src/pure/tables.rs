//! Every peer's copy of every other peer's table, over a gossip that loses much.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::status::{Delta, Digest, OwnTable, PeerTable};

use super::{Checked, World, violated};
use crate::world::Rng;

/// Messages that get lost, in a million.
const LOSS: u64 = 300_000;
/// Pages of one pull.
const PAGES_MAX: usize = 100;

/// Copies, by (holder, owner).
#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<(usize, usize), PeerTable>);

impl Tables {
    /// A peer begins anew, or is none of the cluster's any more.
    pub(super) fn forget(&mut self, peer: usize) {
        self.0
            .retain(|(holder, owner), _| *holder != peer && *owner != peer);
    }

    fn copy(&mut self, holder: usize, owner: usize, own: &OwnTable) -> &mut PeerTable {
        let fresh = || PeerTable::new(own.id().clone(), 0);
        self.0.entry((holder, owner)).or_insert_with(fresh)
    }

    fn tell(&mut self, holder: usize, owner: usize, own: &OwnTable, said: &Said) {
        let copy = self.copy(holder, owner, own);
        if let Some(delta) = &said.delta {
            copy.apply_delta(delta.clone(), 0);
        }
        if let Some(digest) = &said.digest {
            copy.observe_digest(digest, 0);
        }
    }

    fn pull(&mut self, holder: usize, owner: usize, own: &mut OwnTable) {
        let copy = self.copy(holder, owner, own);
        for _ in 0..PAGES_MAX {
            let Some(request) = copy.missing() else {
                return;
            };
            if copy.apply_page(own.answer(&request), 0).is_err() {
                return;
            }
        }
    }
}

/// What an owner spreads at once.
#[derive(Debug)]
struct Said {
    delta: Option<Delta>,
    digest: Option<Digest>,
}

fn lost(rng: &mut Rng) -> bool {
    rng.chance(LOSS)
}

impl World {
    /// A peer spreads what is new in its table; some do not hear it, some ask.
    pub(super) fn gossip(&mut self) {
        let (owner, members) = (self.any_member(), self.members());
        let Some(node) = self.nodes.get_mut(owner) else {
            return;
        };
        if node.down_since.is_some() {
            return;
        }
        let said = Said {
            delta: node.table.seal(),
            digest: node.table.digest(),
        };
        for holder in members.into_iter().filter(|holder| *holder != owner) {
            if !lost(&mut self.rng) {
                self.tables.tell(holder, owner, &node.table, &said);
            }
            if !lost(&mut self.rng) {
                self.tables.pull(holder, owner, &mut node.table);
            }
        }
    }

    /// Once nothing is lost any more, every copy is what its owner has.
    pub(super) fn check_tables(&mut self) -> Checked {
        let members = self.members();
        for owner in members.clone() {
            let Some(node) = self.nodes.get_mut(owner) else {
                continue;
            };
            // What waits goes out in as many deltas as it takes, then a digest.
            for _ in 0..PAGES_MAX {
                let said = Said {
                    delta: node.table.seal(),
                    digest: node.table.digest(),
                };
                let last = said.delta.is_none();
                for holder in members.iter().filter(|holder| **holder != owner) {
                    self.tables.tell(*holder, owner, &node.table, &said);
                    self.tables.pull(*holder, owner, &mut node.table);
                }
                if last {
                    break;
                }
            }
            for holder in members.iter().filter(|holder| **holder != owner) {
                let copy = self.tables.copy(*holder, owner, &node.table);
                if copy.content() != node.table.content() {
                    let what = format!(
                        "peer {} has version {} of the table of peer {}, and other contents than it",
                        holder + 1,
                        copy.version(),
                        owner + 1
                    );
                    return Err(violated("tables-converge", what));
                }
            }
        }
        Ok(())
    }
}
