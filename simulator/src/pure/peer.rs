//! One peer of the pure core: its IPFS node's pins, and what its tracker does about them.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    command::{Command, LearntSize},
    id::{Boot, Cid, Incarnation, PeerId, Seq},
    pin::{PinMode, PinPhase},
    reconcile::{Action, Desired, Observed, Owner, plan},
    state::{System, query},
    status::{OwnTable, TableId},
};

use super::{Checked, World, violated};

/// Pins of a list at once: more than there are CIDs.
pub(super) const ALL: usize = 1_000;

/// What the blocks of a CID take.
pub(super) fn size_of(cid: &Cid) -> u64 {
    let bytes = cid.to_bytes();
    bytes.iter().fold(1, |sum, byte| sum + u64::from(*byte))
}

/// A peer.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: PeerId,
    /// Whether it was admitted and not removed, as far as decided.
    pub(super) member: bool,
    /// When it went down, by the right clock.
    pub(super) down_since: Option<u64>,
    pub(super) draining: bool,
    /// What its IPFS node has pinned, and whose that is.
    pub(super) pins: BTreeMap<Cid, (PinMode, Owner)>,
    pub(super) table: OwnTable,
}

impl Node {
    pub(super) fn new(id: PeerId) -> Self {
        Self {
            table: table(&id, Incarnation(0)),
            id,
            member: false,
            down_since: None,
            draining: false,
            pins: BTreeMap::new(),
        }
    }

    /// A new life as a member.
    pub(super) fn begin(&mut self, incarnation: Incarnation) {
        self.member = true;
        self.down_since = None;
        self.draining = false;
        self.table = table(&self.id, incarnation);
    }

    /// Whether its IPFS node holds a pin as deep as wanted.
    pub(super) fn holds(&self, cid: &Cid, wanted: PinMode) -> bool {
        let mode = self.pins.get(cid).map(|(mode, _)| *mode);
        match wanted {
            PinMode::Recursive => mode == Some(PinMode::Recursive),
            PinMode::Direct => mode.is_some(),
        }
    }

    fn observed(&self, cid: &Cid) -> Observed {
        let found = self.pins.get(cid);
        found.map_or(Observed::Unpinned, |(mode, owner)| Observed::Pinned {
            mode: *mode,
            owner: *owner,
        })
    }
}

fn table(id: &PeerId, incarnation: Incarnation) -> OwnTable {
    OwnTable::new(TableId {
        peer: id.clone(),
        incarnation,
        boot: Boot(1),
    })
}

impl World {
    /// A tracker takes a step for some of its pins.
    pub(super) fn track(&mut self) -> Checked {
        let at = self.any_member();
        let most = self.rng.between(1, 8);
        self.track_some(at, usize::try_from(most).unwrap_or(1))
            .map(|_| ())
    }

    /// Does up to so many steps of a peer's; returns how many there were.
    pub(super) fn track_some(&mut self, at: usize, most: usize) -> Result<usize, super::Violation> {
        let Some(node) = self.nodes.get(at) else {
            return Ok(0);
        };
        if node.down_since.is_some() {
            return Ok(0);
        }
        let state = |e| violated("store", format!("{e:?}"));
        let Some(member) = query::member(&self.model, &node.id).map_err(state)? else {
            return Ok(0);
        };
        let rev = System::load(&self.model).map_err(state)?.rev;
        let mut seqs = query::to_hold(&self.model, member.no, Seq(0), ALL)
            .map_err(state)?
            .items;
        seqs.extend(
            query::to_unpin(&self.model, member.no, Seq(0), ALL)
                .map_err(state)?
                .items,
        );
        let (mut gone, mut sizes) = (Vec::new(), Vec::new());
        let mut done = 0;
        for seq in seqs {
            let desired = query::desired(&self.model, member.no, seq).map_err(state)?;
            if done < most && self.act(at, seq, &desired, &mut gone)? {
                done += 1;
            }
            sizes.extend(self.counted(at, seq, &desired));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.table.advance(rev);
        }
        if !sizes.is_empty() {
            self.decide(at, Command::Sized { sizes });
        }
        if !gone.is_empty() {
            let peer = member.peer;
            let command = Command::Gone {
                peer,
                as_of: rev,
                seqs: gone,
            };
            self.decide(at, command);
        }
        Ok(done)
    }

    /// The size of a pin that is held here, where the state does not know it.
    fn counted(&self, at: usize, seq: Seq, desired: &Desired) -> Option<LearntSize> {
        let Desired::Hold { spec, rev } = desired else {
            return None;
        };
        let node = self.nodes.get(at)?;
        let held = node.holds(&spec.cid, spec.mode) && spec.learns_size();
        held.then(|| (seq, *rev, size_of(&spec.cid)).into())
    }

    /// One step for one pin, into the table too; whether there was one.
    fn act(
        &mut self,
        at: usize,
        seq: Seq,
        desired: &Desired,
        gone: &mut Vec<Seq>,
    ) -> Result<bool, super::Violation> {
        let (Desired::Hold { .. } | Desired::Unpin { .. }) = desired else {
            return Ok(false);
        };
        let (cid, wanted) = match desired {
            Desired::Hold { spec, .. } => (spec.cid, true),
            Desired::Unpin { cid, .. } => (*cid, false),
            Desired::Elsewhere | Desired::Absent => return Ok(false),
        };
        let Some(node) = self.nodes.get_mut(at) else {
            return Ok(false);
        };
        let observed = node.observed(&cid);
        let action = plan(desired, observed);
        match action {
            Some(Action::Pin(mode)) => {
                let owner = match observed {
                    Observed::Pinned { owner, .. } => owner,
                    Observed::Unpinned | Observed::Unknown => Owner::Cluster,
                };
                node.pins.insert(cid, (mode, owner));
                node.table.set(seq, PinPhase::Pinned, None);
            }
            Some(Action::Unpin) => {
                let (_, owner) = node
                    .pins
                    .remove(&cid)
                    .unwrap_or((PinMode::Direct, Owner::Cluster));
                if wanted || owner == Owner::Foreign {
                    let what = format!("{:?} unpinned {cid}, {desired:?}", node.id);
                    return Err(violated("unpinned-only-on-order", what));
                }
                node.table.set(seq, PinPhase::Unpinning, None);
                gone.push(seq);
            }
            Some(Action::ReportGone) => {
                node.table.clear(seq);
                gone.push(seq);
            }
            None => node.table.set(seq, PinPhase::Pinned, None),
        }
        Ok(action.is_some())
    }

    /// Somebody pins something on an IPFS node, past the cluster.
    pub(super) fn foreign(&mut self) {
        let (cid, at) = (self.any_cid(), self.any_member());
        if let Some(node) = self.nodes.get_mut(at) {
            let own = (PinMode::Recursive, Owner::Foreign);
            node.pins.entry(cid).or_insert(own);
        }
    }
}
