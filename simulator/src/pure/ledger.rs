//! A second, much simpler account: what each command may do, whatever the state machine says.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    command::{Command, Entry, Envelope, IfRev, Outcome},
    id::{Boot, Cid, PeerId, Rev, Seq},
    pin::{Holding, Pin, PinMode},
    state::{Applied, Model, query},
    time::Timestamp,
};

use super::{
    Checked, Violation,
    peer::{ALL, Node, size_of},
    violated,
};

/// Live pins before an entry, by number.
pub(super) type Pins = BTreeMap<Seq, Pin>;

/// What was applied so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The last change of each live pin.
    revs: BTreeMap<Cid, Rev>,
    /// Commands that were applied, by session and number.
    once: BTreeSet<(PeerId, Boot, u64)>,
    /// Log time.
    at: Timestamp,
    rev: Rev,
    applied: u64,
}

impl Ledger {
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// The live pins of a state.
    pub(super) fn pins(&self, model: &Model) -> Result<Pins, Violation> {
        let page = query::pins(model, Seq(0), ALL, &|_| true);
        let pins = page.map_err(|e| violated("store", format!("{e:?}")))?.items;
        Ok(pins.into_iter().map(|pin| (pin.seq, pin)).collect())
    }

    /// A size that the state knows is the one that holders counted, whoever told it and when.
    pub(super) fn check_sizes(&self, model: &Model) -> Checked {
        for pin in self.pins(model)?.values() {
            let (size, spec) = (pin.spec.size, &pin.spec);
            if size != 0 && (size != size_of(&spec.cid) || spec.mode == PinMode::Direct) {
                let what = format!("{size} bytes in {:?} of {}", spec.mode, spec.cid);
                return Err(violated("learnt-sizes-are-true", what));
            }
        }
        Ok(())
    }

    /// Judges what became of an entry.
    pub(super) fn check(
        &mut self,
        entry: &Entry,
        applied: &Applied,
        before: &Pins,
        nodes: &[Node],
    ) -> Checked {
        if applied.at < self.at {
            let what = format!("{:?} after {:?}", applied.at, self.at);
            return Err(violated("log-time-never-falls", what));
        }
        self.at = applied.at;
        for (envelope, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            if let Outcome::Applied { rev } = outcome {
                self.enter(envelope, *rev, before)?;
            }
        }
        // Of several commands in one entry it is not known who saw what.
        if let [only] = entry.commands.as_slice()
            && matches!(applied.outcomes.as_slice(), [Outcome::Applied { .. }])
        {
            check_covered(&only.command, before, nodes)?;
        }
        Ok(())
    }

    fn enter(&mut self, envelope: &Envelope, rev: Rev, before: &Pins) -> Checked {
        let Envelope { session, command } = envelope;
        self.applied += 1;
        if rev != self.rev.next() {
            let what = format!("{rev} after {}", self.rev);
            return Err(violated("revs-are-dense", what));
        }
        self.rev = rev;
        let key = (session.origin.clone(), session.boot, session.n);
        if !self.once.insert(key) {
            return Err(violated(
                "applied-once-per-session",
                format!("{envelope:?}"),
            ));
        }
        let fits = match command {
            Command::Pin { spec, if_rev, .. } => {
                let now = self.revs.insert(spec.cid, rev);
                match if_rev {
                    IfRev::Any => true,
                    IfRev::Absent => now.is_none(),
                    IfRev::Is(rev) => now == Some(*rev),
                }
            }
            Command::Unpin { cid } => self.revs.remove(cid).is_some(),
            Command::Place { seq, if_rev, .. } => {
                let cid = self.cid_of(*seq, before);
                cid.is_none_or(|cid| self.revs.insert(cid, rev) == Some(*if_rev))
            }
            Command::Expire { seq, if_rev } => {
                self.check_expiry(*seq, before)?;
                let cid = self.cid_of(*seq, before);
                cid.is_none_or(|cid| self.revs.remove(&cid) == Some(*if_rev))
            }
            _ => true,
        };
        if fits {
            Ok(())
        } else {
            Err(violated(
                "decided-from-the-present-state",
                format!("{command:?}"),
            ))
        }
    }

    /// The CID of a pin that was live before the entry.
    fn cid_of(&self, seq: Seq, before: &Pins) -> Option<Cid> {
        before.get(&seq).map(|pin| pin.spec.cid)
    }

    fn check_expiry(&self, seq: Seq, before: &Pins) -> Checked {
        let expires = before.get(&seq).map(|pin| (pin.rev, pin.spec.expire_at));
        match expires {
            // It may have been changed by the same entry.
            Some((rev, at)) if at.is_none_or(|at| at > self.at) => {
                let what = format!("{seq} of {rev} expires at {at:?}, it is {:?}", self.at);
                Err(violated("nothing-expires-early", what))
            }
            _ => Ok(()),
        }
    }
}

/// Whoever is let go leaves the least number of copies behind, on peers that really have them.
fn check_covered(command: &Command, before: &Pins, nodes: &[Node]) -> Checked {
    let Command::Place {
        seq, allocations, ..
    } = command
    else {
        return Ok(());
    };
    let Some(pin) = before.get(seq) else {
        return Ok(());
    };
    let member = |peer: &PeerId| nodes.iter().find(|node| node.id == *peer && node.member);
    let left = pin.allocations.iter();
    let left = left.filter(|peer| !allocations.contains(peer) && member(peer).is_some());
    if left.count() == 0 {
        return Ok(());
    }
    let Holding::Allocated { min, .. } = pin.spec.holding() else {
        return Ok(());
    };
    let holds = |peer: &&PeerId| {
        let node = nodes.iter().find(|node| node.id == **peer);
        node.is_some_and(|node| node.holds(&pin.spec.cid, pin.spec.mode))
    };
    let have = allocations.iter().filter(holds).count();
    if have >= usize::try_from(min).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let what = format!("{seq} has {have} copies of at least {min} left: {command:?}");
    Err(violated("make-before-break", what))
}
