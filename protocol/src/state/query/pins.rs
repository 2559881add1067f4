//! Pins and tombstones: by CID, by seq, in pages, by name, metadata and expiry.

use std::collections::BTreeMap;

use super::{Page, bounded, members, sets};
use crate::{
    id::{Cid, MemberNo, PeerId, Rev, Seq},
    pin::{Holding, Pin, Tombstone},
    reconcile::Desired,
    state::{
        index,
        rows::{self, LiveRow, PinRow},
        tx::{PinSet, StateRead, StoreError, Table},
    },
    time::Timestamp,
};

/// What is stored under a seq.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are the large one"
)]
pub enum Stored {
    /// A pin of the pinset.
    Live(Pin),
    /// A removed one that somebody has still to unpin.
    Tombstone(Tombstone),
}

impl Stored {
    /// The pin, if it is live.
    #[must_use]
    pub fn live(self) -> Option<Pin> {
        match self {
            Self::Live(pin) => Some(pin),
            Self::Tombstone(_) => None,
        }
    }

    /// Its number.
    #[must_use]
    pub fn seq(&self) -> Seq {
        match self {
            Self::Live(pin) => pin.seq,
            Self::Tombstone(tombstone) => tombstone.seq,
        }
    }

    /// The command that changed it last.
    #[must_use]
    pub fn rev(&self) -> Rev {
        match self {
            Self::Live(pin) => pin.rev,
            Self::Tombstone(tombstone) => tombstone.rev,
        }
    }
}

/// Peers by number, read as they are needed; removed members are none.
struct Peers<'a> {
    read: &'a dyn StateRead,
    known: BTreeMap<MemberNo, Option<PeerId>>,
}

impl<'a> Peers<'a> {
    fn new(read: &'a dyn StateRead) -> Self {
        let known = BTreeMap::new();
        Self { read, known }
    }

    fn names(&mut self, numbers: &[MemberNo]) -> Result<Vec<PeerId>, StoreError> {
        let mut peers = Vec::with_capacity(numbers.len());
        for no in numbers {
            if !self.known.contains_key(no) {
                let row = members::row_of(self.read, *no)?;
                let present = row.filter(|row| row.departed_at.is_none());
                self.known.insert(*no, present.map(|row| row.peer));
            }
            peers.extend(self.known.get(no).cloned().flatten());
        }
        Ok(peers)
    }

    fn stored(&mut self, seq: Seq, row: PinRow) -> Result<Stored, StoreError> {
        Ok(match row {
            PinRow::Live(row) => Stored::Live(self.pin(seq, row)?),
            PinRow::Tombstone(row) => Stored::Tombstone(Tombstone {
                seq,
                cid: row.cid,
                rev: row.rev,
                removed_at: row.removed_at,
                holders: self.names(&row.holders)?,
            }),
        })
    }

    fn pin(&mut self, seq: Seq, row: LiveRow) -> Result<Pin, StoreError> {
        Ok(Pin {
            seq,
            rev: row.rev,
            allocations: self.names(&row.allocations)?,
            copies: row.copies,
            timestamp: row.timestamp,
            spec: row.spec,
        })
    }
}

/// The pin of a CID, if it is in the pinset.
pub fn pin_by_cid(read: &dyn StateRead, cid: &Cid) -> Result<Option<Pin>, StoreError> {
    Ok(stored_by_cid(read, cid)?.and_then(Stored::live))
}

/// What is stored of a CID, also a tombstone.
pub fn stored_by_cid(read: &dyn StateRead, cid: &Cid) -> Result<Option<Stored>, StoreError> {
    match rows::pin_row_of_cid(read, cid)? {
        Some((seq, row)) => Peers::new(read).stored(seq, row).map(Some),
        None => Ok(None),
    }
}

/// What is stored under a seq.
pub fn stored(read: &dyn StateRead, seq: Seq) -> Result<Option<Stored>, StoreError> {
    match rows::pin_row(read, seq)? {
        Some(row) => Peers::new(read).stored(seq, row).map(Some),
        None => Ok(None),
    }
}

/// What is stored under each of these seqs, without those that nothing is stored of.
pub fn stored_many(read: &dyn StateRead, seqs: &[Seq]) -> Result<Vec<Stored>, StoreError> {
    let mut peers = Peers::new(read);
    let mut found = Vec::with_capacity(seqs.len());
    for seq in seqs {
        if let Some(row) = rows::pin_row(read, *seq)? {
            found.push(peers.stored(*seq, row)?);
        }
    }
    Ok(found)
}

/// Everything stored, from a seq on: pins and tombstones, in order of creation.
pub fn stored_page(
    read: &dyn StateRead,
    from: Seq,
    limit: usize,
) -> Result<Page<Stored>, StoreError> {
    let limit = bounded(limit);
    let mut peers = Peers::new(read);
    let rows = read.range(Table::Pin, &rows::seq_key(from), None, limit)?;
    let next = match rows.last() {
        Some((key, _)) if rows.len() == limit => Some(rows::seq_of_key(Table::Pin, key)?.next()),
        _ => None,
    };
    let mut items = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let seq = rows::seq_of_key(Table::Pin, &key)?;
        let row = rows::decode(Table::Pin, &key, &value)?;
        items.push(peers.stored(seq, row)?);
    }
    Ok(Page { items, next })
}

/// The pinset from a seq on, in order of creation: at most `limit` rows are looked at.
pub fn pins(
    read: &dyn StateRead,
    from: Seq,
    limit: usize,
    wanted: &dyn Fn(&Pin) -> bool,
) -> Result<Page<Pin>, StoreError> {
    let page = stored_page(read, from, limit)?;
    let live = page.items.into_iter().filter_map(Stored::live);
    let items = live.filter(|pin| wanted(pin)).collect();
    let next = page.next;
    Ok(Page { items, next })
}

/// The live pins of a set, from a seq on.
pub fn pins_of(
    read: &dyn StateRead,
    set: PinSet,
    from: Seq,
    limit: usize,
) -> Result<Page<Pin>, StoreError> {
    let page = sets::seqs(read, set, from, limit)?;
    let found = stored_many(read, &page.items)?;
    let items = found.into_iter().filter_map(Stored::live).collect();
    let next = page.next;
    Ok(Page { items, next })
}

/// The pins of exactly this name.
pub fn seqs_by_name(
    read: &dyn StateRead,
    name: &str,
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    below_prefix(read, Table::Name, &index::name_prefix(name), from, limit)
}

/// The pins that may have this metadata: long keys and values are indexed by their start, so the
/// caller checks the pin.
pub fn seqs_by_meta(
    read: &dyn StateRead,
    key: &str,
    value: &str,
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    let prefix = index::meta_prefix(key, value);
    below_prefix(read, Table::Meta, &prefix, from, limit)
}

fn below_prefix(
    read: &dyn StateRead,
    table: Table,
    prefix: &[u8],
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    let limit = bounded(limit);
    let first = index::key(prefix.to_vec(), from);
    // One byte longer than any key of this prefix, and after all of them.
    let mut below = index::key(prefix.to_vec(), Seq(u64::MAX));
    below.push(0);
    let rows = read.range(table, &first, Some(&below), limit)?;
    let full = rows.len() == limit;
    let mut items = Vec::with_capacity(rows.len());
    for (key, _) in &rows {
        items.push(rows::seq_of_key(table, key)?);
    }
    let next = items.last().filter(|_| full).map(|last| last.next());
    Ok(Page { items, next })
}

/// Pins whose time is over at `at`, the earliest first, with the revs to decide from.
pub fn expired(
    read: &dyn StateRead,
    at: Timestamp,
    limit: usize,
) -> Result<Vec<(Seq, Rev)>, StoreError> {
    let mut below = index::key(index::expiry_prefix(at), Seq(u64::MAX));
    below.push(0);
    let rows = read.range(Table::Expiry, &[], Some(&below), bounded(limit))?;
    let mut found = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        let seq = rows::seq_of_key(Table::Expiry, &key)?;
        if let Some(PinRow::Live(row)) = rows::pin_row(read, seq)? {
            found.push((seq, row.rev));
        }
    }
    Ok(found)
}

/// What a member shall do about a seq.
pub fn desired(read: &dyn StateRead, no: MemberNo, seq: Seq) -> Result<Desired, StoreError> {
    Ok(match rows::pin_row(read, seq)? {
        None => Desired::Absent,
        Some(PinRow::Tombstone(row)) if row.holders.contains(&no) => Desired::Unpin {
            cid: row.cid,
            rev: row.rev,
        },
        Some(PinRow::Tombstone(_)) => Desired::Absent,
        Some(PinRow::Live(row)) => {
            let here = match row.spec.holding() {
                Holding::Nobody => false,
                Holding::Everywhere => true,
                Holding::Allocated { .. } => row.allocations.contains(&no),
            };
            if here {
                Desired::Hold {
                    rev: row.rev,
                    spec: Box::new(row.spec),
                }
            } else if row.released.contains(&no) {
                Desired::Unpin {
                    cid: row.spec.cid,
                    rev: row.rev,
                }
            } else {
                Desired::Elsewhere
            }
        }
    })
}
