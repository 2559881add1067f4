//! The secondary indexes of live pins: by name, by metadata, by expiry.
//!
//! Keys are texts in an escaped form that keeps their order, then the seq, so that one text's pins
//! are one range. Long metadata is indexed by its start alone: readers check the pin itself.

use super::{
    rows::LiveRow,
    tx::{StateTx, StoreError, Table},
};
use crate::{id::Seq, time::Timestamp};

/// Bytes of a metadata key or value that are indexed.
const META_BYTES: usize = 128;

/// The pins of a name.
pub(crate) fn name_prefix(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 10);
    escape(&mut key, name.as_bytes());
    key
}

/// The pins with this metadata, and those whose first bytes are the same.
pub(crate) fn meta_prefix(key: &str, value: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(key.len() + value.len() + 12);
    escape(&mut prefix, start(key));
    escape(&mut prefix, start(value));
    prefix
}

/// The pins that expire at this time.
pub(crate) fn expiry_prefix(at: Timestamp) -> Vec<u8> {
    at.0.to_be_bytes().to_vec()
}

/// The key of one pin below a prefix.
pub(crate) fn key(mut prefix: Vec<u8>, seq: Seq) -> Vec<u8> {
    prefix.extend_from_slice(&seq.0.to_be_bytes());
    prefix
}

fn start(text: &str) -> &[u8] {
    let bytes = text.as_bytes();
    bytes.get(..META_BYTES).unwrap_or(bytes)
}

/// Appends a text so that no text is the start of another: 0 becomes 0 1, and 0 0 ends it.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        out.push(*byte);
        if *byte == 0 {
            out.push(1);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Brings the indexes from one version of a pin to the next.
pub(crate) fn update(
    tx: &mut dyn StateTx,
    seq: Seq,
    old: Option<&LiveRow>,
    new: Option<&LiveRow>,
) -> Result<(), StoreError> {
    let name = |row: Option<&LiveRow>| {
        let name = &row?.spec.name;
        (!name.is_empty()).then(|| name_prefix(name))
    };
    edit(tx, Table::Name, seq, name(old), name(new))?;
    let expiry = |row: Option<&LiveRow>| row?.spec.expire_at.map(expiry_prefix);
    edit(tx, Table::Expiry, seq, expiry(old), expiry(new))?;
    update_meta(tx, seq, old, new)
}

fn update_meta(
    tx: &mut dyn StateTx,
    seq: Seq,
    old: Option<&LiveRow>,
    new: Option<&LiveRow>,
) -> Result<(), StoreError> {
    let pairs = |row: Option<&LiveRow>| {
        let metadata = row.iter().flat_map(|row| &row.spec.metadata);
        metadata
            .map(|(key, value)| meta_prefix(key, value))
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (old, new) = (pairs(old), pairs(new));
    for prefix in old.difference(&new) {
        tx.delete(Table::Meta, &key(prefix.clone(), seq))?;
    }
    for prefix in new.difference(&old) {
        tx.put(Table::Meta, &key(prefix.clone(), seq), &[])?;
    }
    Ok(())
}

fn edit(
    tx: &mut dyn StateTx,
    table: Table,
    seq: Seq,
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
) -> Result<(), StoreError> {
    if old == new {
        return Ok(());
    }
    if let Some(prefix) = old {
        tx.delete(table, &key(prefix, seq))?;
    }
    if let Some(prefix) = new {
        tx.put(table, &key(prefix, seq), &[])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_the_start_of_another_and_order_is_kept() {
        let texts = ["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "ab", "b"];
        let keys: Vec<_> = texts.iter().map(|t| name_prefix(t)).collect();
        assert!(keys.is_sorted());
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert_eq!(a.starts_with(b), i == j, "{:?} {:?}", texts[i], texts[j]);
            }
        }
    }
}
