//! The rolling hash of all that was written: peers whose states drifted apart find out by it.
//!
//! It guards against faults, not against forgers, and it sits on the hot path: hence a fast mix of
//! eight bytes at a time instead of a cryptographic hash.

use roaring::RoaringBitmap;

use super::tx::{PinSet, Row, StateRead, StateTx, StoreError, Table};
use crate::{id::Seq, mix::Mix};

/// Passes everything to a transaction and folds what is written into a hash.
pub(crate) struct Hashed<'a> {
    tx: &'a mut dyn StateTx,
    mix: Mix,
}

impl<'a> Hashed<'a> {
    /// Continues from the hash of what was written before.
    pub(crate) fn new(tx: &'a mut dyn StateTx, before: u64) -> Self {
        let mix = Mix::new(before);
        Self { tx, mix }
    }

    /// Folds in something that is not a write.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        self.mix.write(bytes);
    }

    /// The hash, and the transaction back.
    pub(crate) fn finish(self) -> (u64, &'a mut dyn StateTx) {
        (self.mix.finish(), self.tx)
    }
}

impl StateRead for Hashed<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.tx.get(table, key)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.tx.range(table, from, below, limit)
    }

    fn set_block(&self, set: PinSet, block: u64) -> Result<RoaringBitmap, StoreError> {
        self.tx.set_block(set, block)
    }

    fn set_blocks(&self, set: PinSet, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        self.tx.set_blocks(set, from, limit)
    }
}

impl StateTx for Hashed<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.mix.write(&[1, table as u8]);
        self.mix.write(key);
        self.mix.write(value);
        self.tx.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.mix.write(&[2, table as u8]);
        self.mix.write(key);
        self.tx.delete(table, key)
    }

    fn set_edit(&mut self, set: PinSet, seq: Seq, member: bool) -> Result<(), StoreError> {
        self.mix.write(&[3, u8::from(member)]);
        self.mix.write(&set.key());
        self.mix.write(&seq.0.to_be_bytes());
        self.tx.set_edit(set, seq, member)
    }
}
