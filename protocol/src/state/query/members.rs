//! Who is in the cluster, and who left it without being forgotten yet.

use super::sets;
use crate::{
    id::{MemberNo, PeerId},
    limits::PAGE_MAX,
    state::{
        members::Member,
        rows::{self, MemberRow},
        tx::{PinSet, StateRead, StoreError, Table},
    },
};

/// A removed member that rows or sets still refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// Its number: its sets can still be read.
    pub no: MemberNo,
    /// Who it was.
    pub peer: PeerId,
    /// Pins that lost a copy with it and have not been placed again.
    pub to_place: u64,
    /// Whether a `Sweep` has something to do.
    pub to_sweep: bool,
}

/// The member of this peer ID.
pub fn member(read: &dyn StateRead, peer: &PeerId) -> Result<Option<Member>, StoreError> {
    let Some(key) = read.get(Table::Peer, peer.as_bytes())? else {
        return Ok(None);
    };
    let no = number(&key)?;
    let row = rows::load(read, Table::Member, &key)?;
    let row = row.ok_or_else(|| rows::bad(Table::Member, &key, "missing"))?;
    Ok(Some(Member::from_row(no, row)))
}

/// All members, by their numbers.
pub fn members(read: &dyn StateRead) -> Result<Vec<Member>, StoreError> {
    let mut members = Vec::new();
    each_member_row(read, |no, row| {
        if row.departed_at.is_none() {
            members.push(Member::from_row(no, row));
        }
    })?;
    Ok(members)
}

/// Removed members that are not forgotten yet.
pub fn departed(read: &dyn StateRead) -> Result<Vec<Departed>, StoreError> {
    let mut rows = Vec::new();
    each_member_row(read, |no, row| {
        if row.departed_at.is_some() {
            rows.push((no, row.peer));
        }
    })?;
    let mut departed = Vec::with_capacity(rows.len());
    for (no, peer) in rows {
        let to_place = sets::set_len(read, PinSet::Allocated(no))?;
        let waiting = sets::seqs_in_any(
            read,
            &[PinSet::Tombstones(no), PinSet::Released(no)],
            crate::id::Seq(0),
            1,
        )?;
        let to_sweep = to_place == 0 || !waiting.items.is_empty();
        departed.push(Departed {
            no,
            peer,
            to_place,
            to_sweep,
        });
    }
    Ok(departed)
}

/// Every member row, also of removed members, by number.
pub(crate) fn each_member_row(
    read: &dyn StateRead,
    mut visit: impl FnMut(MemberNo, MemberRow),
) -> Result<(), StoreError> {
    let mut from = Vec::new();
    loop {
        let page = read.range(Table::Member, &from, None, PAGE_MAX)?;
        let full = page.len() == PAGE_MAX;
        for (key, value) in page {
            visit(number(&key)?, rows::decode(Table::Member, &key, &value)?);
            from = key;
        }
        if !full {
            return Ok(());
        }
        from.push(0);
    }
}

/// The row of a member number, also of a removed member.
pub(super) fn row_of(read: &dyn StateRead, no: MemberNo) -> Result<Option<MemberRow>, StoreError> {
    rows::load(read, Table::Member, &rows::member_key(no))
}

fn number(key: &[u8]) -> Result<MemberNo, StoreError> {
    <[u8; 4]>::try_from(key)
        .map(|bytes| MemberNo(u32::from_be_bytes(bytes)))
        .map_err(|_| rows::bad(Table::Member, key, "the key is no member number"))
}
