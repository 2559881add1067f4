//! Commands on pins: pin, unpin, expire, place, gone, sweep.
//!
//! A pin number's life, as `gone` reports and new pins move it along:
//!
//! ```text
//!   (none) ──pin──▶ live ──unpin, expire──▶ tombstone ──gone of every holder──▶ (none)
//!                    ▲  │ place: who is left out        │
//!                    │  └▶ released, until gone         │
//!                    └───────────── pin ────────────────┘
//! ```

use std::collections::BTreeSet;

use super::{
    index,
    members::Directory,
    requests,
    rows::{self, LiveRow, PinRow, TombstoneRow},
    system::System,
    tx::{PinSet, StateTx, StoreError, Table},
};
use crate::{
    codec,
    command::{IfRev, LEVEL_SIZES, LearntSize, Rejection},
    id::{Cid, MemberNo, PeerId, Rev, Seq},
    limits::{GONE_SEQS_MAX, SIZES_PER_REPORT_MAX, SWEEP_SEQS_MAX},
    mutation::{Mutation, planted},
    pin::{Holding, PinMode, PinSpec},
    time::Timestamp,
};

/// What a command on the state came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done; the pins that it changed, what was asked for first.
    Done(Vec<Seq>),
    /// The state has moved on since the decision.
    Conflict(Option<Rev>),
    /// Impossible.
    No(Rejection),
}

/// A verdict, unless the store fails.
pub(crate) type Answer = Result<Verdict, StoreError>;

/// The surroundings of one command.
pub(crate) struct Scope<'a> {
    pub(crate) tx: &'a mut dyn StateTx,
    pub(crate) system: &'a mut System,
    pub(crate) members: &'a mut Directory,
    /// The rev that the command gets if it is done.
    pub(crate) rev: Rev,
    /// Log time.
    pub(crate) at: Timestamp,
}

impl Scope<'_> {
    /// Pins, or changes a pin.
    pub(crate) fn pin(&mut self, spec: &PinSpec, allocations: &[PeerId], if_rev: IfRev) -> Answer {
        if let Err(limit) = spec.check() {
            return Ok(Verdict::No(Rejection::Limit(limit.to_string())));
        }
        let old = rows::pin_row_of_cid(self.tx, &spec.cid)?;
        let live = old.as_ref().and_then(|(_, row)| row.live());
        if let Some(rejection) = live.and_then(|live| repin_refused(&live.spec, spec)) {
            return Ok(Verdict::No(rejection));
        }
        let current = live.map(|live| live.rev);
        let fits = match if_rev {
            IfRev::Any => true,
            IfRev::Absent => current.is_none(),
            IfRev::Is(rev) => current == Some(rev),
        };
        if !fits && !planted(Mutation::ApplyWithoutIfRev) {
            return Ok(Verdict::Conflict(current));
        }
        let (chosen, copies) = match self.chosen(spec, allocations) {
            Ok(chosen) => chosen,
            Err(rejection) => return Ok(Verdict::No(rejection)),
        };
        let (allocations, released) =
            self.take_over(spec.holding(), chosen, old.as_ref().map(|(_, row)| row));
        let spec = self.kept(spec, live);
        let new = LiveRow {
            rev: self.rev,
            timestamp: self.at,
            allocations,
            copies,
            released,
            spec,
        };
        let (seq, old) = match old {
            Some((seq, row)) => (seq, Some(row)),
            None => (self.new_seq(), None),
        };
        self.replace(seq, old, Some(PinRow::Live(new)))?;
        Ok(Verdict::Done(vec![seq]))
    }

    /// The members a new placement names, and the copies it stands for.
    fn chosen(
        &self,
        spec: &PinSpec,
        allocations: &[PeerId],
    ) -> Result<(Vec<MemberNo>, u32), Rejection> {
        let Holding::Allocated { min, max } = spec.holding() else {
            return Ok((Vec::new(), 0));
        };
        let chosen = self.members.resolve(allocations)?;
        let have = count(chosen.len());
        if have < min {
            return Err(Rejection::TooFewCopies { have, min });
        }
        Ok((chosen, have.min(max)))
    }

    /// The spec that is kept: what was learnt of the size stays true of the CID. (Before the level at
    /// which sizes are learnt, members of older versions keep the spec as it came.)
    fn kept(&self, spec: &PinSpec, live: Option<&LiveRow>) -> PinSpec {
        let mut spec = spec.clone();
        if let Some(live) = live.filter(|live| live.spec.mode == spec.mode)
            && spec.size == 0
            && self.system.feature_level >= LEVEL_SIZES
        {
            spec.size = live.spec.size;
        }
        spec
    }

    /// Who is allocated and who is released when a row gives way to a new placement. Nobody that
    /// may hold the content is let go here: that takes a `place` with confirmations.
    fn take_over(
        &self,
        holding: Holding,
        mut allocations: Vec<MemberNo>,
        old: Option<&PinRow>,
    ) -> (Vec<MemberNo>, Vec<MemberNo>) {
        let mut released = match old {
            None => Vec::new(),
            Some(PinRow::Tombstone(row)) => row.holders.clone(),
            Some(PinRow::Live(row)) => row.released.clone(),
        };
        match holding {
            Holding::Nobody => {}
            Holding::Everywhere => released.clear(),
            Holding::Allocated { .. } => {
                if let Some(PinRow::Live(row)) = old {
                    let before = self.holders(row);
                    allocations.extend(distinct(before, &allocations));
                }
                released = distinct(released, &allocations);
            }
        }
        released.retain(|no| self.members.is_present(*no));
        (allocations, released)
    }

    /// The present members that a live pin is assigned to.
    fn holders(&self, row: &LiveRow) -> Vec<MemberNo> {
        match row.spec.holding() {
            Holding::Nobody => Vec::new(),
            Holding::Everywhere => self.members.numbers(),
            Holding::Allocated { .. } => {
                let present = |no: &&MemberNo| self.members.is_present(**no);
                row.allocations.iter().filter(present).copied().collect()
            }
        }
    }

    fn new_seq(&mut self) -> Seq {
        let seq = self.system.next_seq;
        self.system.next_seq = seq.next();
        seq
    }

    /// Removes a pin.
    pub(crate) fn unpin(&mut self, cid: &Cid) -> Answer {
        match rows::pin_row_of_cid(self.tx, cid)? {
            Some((seq, PinRow::Live(row))) => self.bury(seq, row),
            Some((_, PinRow::Tombstone(_))) | None => Ok(Verdict::No(Rejection::NotPinned)),
        }
    }

    /// Removes a pin whose time is over.
    pub(crate) fn expire(&mut self, seq: Seq, if_rev: Rev) -> Answer {
        let row = match self.live_at(seq, if_rev)? {
            Ok(row) => row,
            Err(conflict) => return Ok(conflict),
        };
        let early = row.spec.expire_at.is_none_or(|at| at > self.at);
        if early && !planted(Mutation::ExpiryByWrongClock) {
            return Ok(Verdict::No(Rejection::NotExpired));
        }
        self.bury(seq, row)
    }

    /// A live row, if its last change is the one that was decided from.
    fn live_at(&self, seq: Seq, if_rev: Rev) -> Result<Result<LiveRow, Verdict>, StoreError> {
        let any = planted(Mutation::ApplyWithoutIfRev);
        Ok(match rows::pin_row(self.tx, seq)? {
            Some(PinRow::Live(row)) if row.rev == if_rev || any => Ok(row),
            Some(PinRow::Live(row)) => Err(Verdict::Conflict(Some(row.rev))),
            Some(PinRow::Tombstone(_)) | None => Err(Verdict::Conflict(None)),
        })
    }

    /// Turns a live pin into a tombstone, or into nothing where nobody holds it.
    pub(super) fn bury(&mut self, seq: Seq, row: LiveRow) -> Answer {
        requests::forget_all(self.tx, seq)?;
        let mut holders = self.holders(&row);
        let released = distinct(row.released.clone(), &holders);
        holders.extend(
            released
                .into_iter()
                .filter(|no| self.members.is_present(*no)),
        );
        let tombstone = TombstoneRow {
            cid: row.spec.cid,
            rev: self.rev,
            removed_at: self.at,
            holders,
        };
        let new = (!tombstone.holders.is_empty()).then_some(PinRow::Tombstone(tombstone));
        self.replace(seq, Some(PinRow::Live(row)), new)?;
        Ok(Verdict::Done(vec![seq]))
    }

    /// Changes who holds a pin. Whoever is left out must be covered by confirmed copies.
    pub(crate) fn place(
        &mut self,
        seq: Seq,
        if_rev: Rev,
        allocations: &[PeerId],
        confirmed: &[PeerId],
    ) -> Answer {
        let row = match self.live_at(seq, if_rev)? {
            Ok(row) => row,
            Err(conflict) => return Ok(conflict),
        };
        let Holding::Allocated { min, .. } = row.spec.holding() else {
            return Ok(Verdict::No(Rejection::NotPlaceable));
        };
        let allocations = match self.members.resolve(allocations) {
            Ok(allocations) => allocations,
            Err(rejection) => return Ok(Verdict::No(rejection)),
        };
        let left_out = distinct(self.holders(&row), &allocations);
        if !left_out.is_empty() {
            let sure = confirmed
                .iter()
                .filter_map(|peer| self.members.number(peer));
            let sure: BTreeSet<_> = sure.filter(|no| allocations.contains(no)).collect();
            let have = count(sure.len());
            if have < min {
                return Ok(Verdict::No(Rejection::TooFewCopies { have, min }));
            }
        }
        let mut new = row.clone();
        new.rev = self.rev;
        new.released.extend(left_out);
        new.released = distinct(new.released, &allocations);
        new.released.retain(|no| self.members.is_present(*no));
        new.allocations = allocations;
        self.replace(seq, Some(PinRow::Live(row)), Some(PinRow::Live(new)))?;
        Ok(Verdict::Done(vec![seq]))
    }

    /// Takes a peer's word that it unpinned what it had to, unless the pin changed since.
    pub(crate) fn gone(&mut self, peer: &PeerId, as_of: Rev, seqs: &[Seq]) -> Answer {
        if seqs.len() > GONE_SEQS_MAX {
            let text = format!("more than {GONE_SEQS_MAX} pins in one report");
            return Ok(Verdict::No(Rejection::Limit(text)));
        }
        let Some(no) = self.members.number(peer) else {
            return Ok(Verdict::No(Rejection::NotAMember(peer.clone())));
        };
        for seq in seqs {
            self.forget_holder(*seq, no, as_of)?;
        }
        Ok(Verdict::Done(Vec::new()))
    }

    /// Forgets what a removed member had still to unpin.
    pub(crate) fn sweep(&mut self, no: MemberNo) -> Answer {
        if !self.members.is_departed(no) {
            return Ok(Verdict::No(Rejection::NotDeparted(no)));
        }
        let mut left = SWEEP_SEQS_MAX;
        for set in [PinSet::Tombstones(no), PinSet::Released(no)] {
            let page = super::query::seqs(self.tx, set, Seq(0), left)?;
            left -= page.items.len();
            for seq in page.items {
                self.forget_holder(seq, no, Rev(u64::MAX))?;
            }
        }
        self.members.forget_if_done(self.tx, no)?;
        Ok(Verdict::Done(Vec::new()))
    }

    /// Takes a member out of a tombstone's holders, or of a pin's released ones.
    fn forget_holder(&mut self, seq: Seq, no: MemberNo, as_of: Rev) -> Result<(), StoreError> {
        let Some(old) = rows::pin_row(self.tx, seq)? else {
            return Ok(());
        };
        let new = match old.clone() {
            PinRow::Live(mut row) if row.rev <= as_of && row.released.contains(&no) => {
                row.released.retain(|other| *other != no);
                Some(PinRow::Live(row))
            }
            PinRow::Tombstone(mut row) if row.rev <= as_of && row.holders.contains(&no) => {
                // Removed members are dropped on the way: they will never report.
                row.holders
                    .retain(|other| *other != no && self.members.is_present(*other));
                (!row.holders.is_empty()).then_some(PinRow::Tombstone(row))
            }
            PinRow::Live(_) | PinRow::Tombstone(_) => return Ok(()),
        };
        self.replace(seq, Some(old), new)
    }

    /// Keeps sizes that were learnt of pins, unless they changed since or their size is known.
    pub(crate) fn sized(&mut self, sizes: &[LearntSize]) -> Answer {
        if sizes.len() > SIZES_PER_REPORT_MAX {
            let text = format!("more than {SIZES_PER_REPORT_MAX} sizes in one report");
            return Ok(Verdict::No(Rejection::Limit(text)));
        }
        for learnt in sizes {
            let Ok(row) = self.live_at(learnt.seq, learnt.rev)? else {
                continue;
            };
            if !row.spec.learns_size() {
                continue;
            }
            let mut new = row.clone();
            new.spec.size = learnt.bytes;
            self.replace(learnt.seq, Some(PinRow::Live(row)), Some(PinRow::Live(new)))?;
        }
        // No pin was changed for those who follow changes: nobody has to do anything about it.
        Ok(Verdict::Done(Vec::new()))
    }

    /// Writes a pin's next version, and brings sets, indexes and counts along.
    fn replace(
        &mut self,
        seq: Seq,
        old: Option<PinRow>,
        new: Option<PinRow>,
    ) -> Result<(), StoreError> {
        let before = old.as_ref().map_or_else(BTreeSet::new, PinRow::sets);
        let after = new.as_ref().map_or_else(BTreeSet::new, PinRow::sets);
        for set in before.difference(&after) {
            if planted(Mutation::SetEditForgotten) {
                break;
            }
            self.tx.set_edit(*set, seq, false)?;
        }
        for set in after.difference(&before) {
            self.tx.set_edit(*set, seq, true)?;
        }
        let old_live = old.as_ref().and_then(PinRow::live);
        let new_live = new.as_ref().and_then(PinRow::live);
        index::update(self.tx, seq, old_live, new_live)?;
        self.count(old.as_ref(), new.as_ref());
        match (&old, &new) {
            (_, Some(row)) => {
                self.tx
                    .put(Table::Pin, &rows::seq_key(seq), &codec::encode(row))?;
                if old.is_none() {
                    let cid = row.cid().to_bytes();
                    self.tx.put(Table::Cid, &cid, &rows::seq_key(seq))?;
                }
            }
            (Some(row), None) => {
                self.tx.delete(Table::Pin, &rows::seq_key(seq))?;
                self.tx.delete(Table::Cid, &row.cid().to_bytes())?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn count(&mut self, old: Option<&PinRow>, new: Option<&PinRow>) {
        let system = &mut *self.system;
        match old {
            Some(PinRow::Live(_)) => system.live_pins = system.live_pins.saturating_sub(1),
            Some(PinRow::Tombstone(_)) => system.tombstones = system.tombstones.saturating_sub(1),
            None => {}
        }
        match new {
            Some(PinRow::Live(_)) => system.live_pins += 1,
            Some(PinRow::Tombstone(_)) => system.tombstones += 1,
            None => {}
        }
    }
}

/// Why a live pin cannot be pinned again like this.
fn repin_refused(old: &PinSpec, new: &PinSpec) -> Option<Rejection> {
    if old.pin_type != new.pin_type {
        return Some(Rejection::TypeMismatch {
            new: new.pin_type.to_string(),
            was: old.pin_type.to_string(),
        });
    }
    let narrower = old.mode == PinMode::Recursive && new.mode == PinMode::Direct;
    narrower.then_some(Rejection::RecursiveToDirect)
}

/// The members of `all` that are not in `others`.
fn distinct(mut all: Vec<MemberNo>, others: &[MemberNo]) -> Vec<MemberNo> {
    all.retain(|no| !others.contains(no));
    all
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
