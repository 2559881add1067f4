//! Pin sets as lists of seqs.

use roaring::RoaringBitmap;

use super::{Page, bounded};
use crate::{
    id::{MemberNo, Seq},
    limits::PAGE_MAX,
    state::tx::{PinSet, StateRead, StoreError},
};

/// A set's seqs from `from` on, ascending.
pub fn seqs(
    read: &dyn StateRead,
    set: PinSet,
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    seqs_in_any(read, &[set], from, limit)
}

/// The seqs that are in at least one of the sets, from `from` on, ascending.
pub fn seqs_in_any(
    read: &dyn StateRead,
    sets: &[PinSet],
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    seqs_without(read, sets, &|_| RoaringBitmap::new(), from, limit)
}

/// The seqs that are in at least one of the sets and not, block by block, in `except`; from `from`
/// on, ascending.
pub fn seqs_without(
    read: &dyn StateRead,
    sets: &[PinSet],
    except: &dyn Fn(u64) -> RoaringBitmap,
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    let limit = bounded(limit);
    let mut items = Vec::new();
    let (mut block, mut low) = from.split();
    while let Some(found) = first_block(read, sets, block)? {
        if found > block {
            low = 0;
        }
        let mut bits = RoaringBitmap::new();
        for set in sets {
            bits |= read.set_block(*set, found)?;
        }
        bits -= except(found);
        for bit in bits.range(low..) {
            if items.len() == limit {
                let next = Some(Seq::join(found, bit));
                return Ok(Page { items, next });
            }
            items.push(Seq::join(found, bit));
        }
        low = 0;
        match found.checked_add(1) {
            Some(after) => block = after,
            None => break,
        }
    }
    Ok(Page { items, next: None })
}

/// The first block at or after `from` that some set has.
fn first_block(
    read: &dyn StateRead,
    sets: &[PinSet],
    from: u64,
) -> Result<Option<u64>, StoreError> {
    let mut first = None;
    for set in sets {
        let found = read.set_blocks(*set, from, 1)?.first().copied();
        first = match (first, found) {
            (Some(a), Some(b)) => Some(std::cmp::min(a, b)),
            (a, b) => a.or(b),
        };
    }
    Ok(first)
}

/// How many pins are in a set; the cost is one read per 65 536 of them.
pub fn set_len(read: &dyn StateRead, set: PinSet) -> Result<u64, StoreError> {
    let mut len = 0;
    let mut from = 0;
    loop {
        let blocks = read.set_blocks(set, from, PAGE_MAX)?;
        for block in &blocks {
            len += read.set_block(set, *block)?.len();
        }
        match blocks.last().and_then(|last| last.checked_add(1)) {
            Some(after) if blocks.len() == PAGE_MAX => from = after,
            _ => return Ok(len),
        }
    }
}

/// Whether a pin is in a set.
pub fn set_contains(read: &dyn StateRead, set: PinSet, seq: Seq) -> Result<bool, StoreError> {
    let (block, low) = seq.split();
    Ok(read.set_block(set, block)?.contains(low))
}

/// The pins that a member shall hold: those allocated to it and those that everybody holds.
pub fn to_hold(
    read: &dyn StateRead,
    no: MemberNo,
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    let sets = [PinSet::Allocated(no), PinSet::Everywhere];
    seqs_in_any(read, &sets, from, limit)
}

/// The pins that a member was told to unpin and has not yet reported gone.
pub fn to_unpin(
    read: &dyn StateRead,
    no: MemberNo,
    from: Seq,
    limit: usize,
) -> Result<Page<Seq>, StoreError> {
    let sets = [PinSet::Tombstones(no), PinSet::Released(no)];
    seqs_in_any(read, &sets, from, limit)
}
