//! The state in ordered maps: the simulator's oracle, the tests' store, an exporter's scratch.

use std::{collections::BTreeMap, ops::Bound};

use roaring::RoaringBitmap;

use super::tx::{PinSet, Row, StateRead, StateTx, StoreError, Table};
use crate::id::Seq;

/// A whole state in memory. It has no transactions: what is written stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    sets: BTreeMap<(PinSet, u64), RoaringBitmap>,
}

impl Model {
    /// All rows of a table, in key order.
    pub fn rows(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rows = self.tables.get(&table).into_iter().flatten();
        rows.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// All pin sets that are not empty.
    pub fn sets(&self) -> impl Iterator<Item = (PinSet, u64, &RoaringBitmap)> {
        self.sets
            .iter()
            .map(|((set, block), bits)| (*set, *block, bits))
    }
}

impl StateRead for Model {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .tables
            .get(&table)
            .and_then(|rows| rows.get(key))
            .cloned())
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if below.is_some_and(|below| below <= from) {
            return Ok(Vec::new());
        }
        let Some(rows) = self.tables.get(&table) else {
            return Ok(Vec::new());
        };
        let end = below.map_or(Bound::Unbounded, Bound::Excluded);
        let found = rows.range::<[u8], _>((Bound::Included(from), end));
        Ok(found
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn set_block(&self, set: PinSet, block: u64) -> Result<RoaringBitmap, StoreError> {
        Ok(self.sets.get(&(set, block)).cloned().unwrap_or_default())
    }

    fn set_blocks(&self, set: PinSet, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        let found = self.sets.range((set, from)..=(set, u64::MAX));
        Ok(found.take(limit).map(|((_, block), _)| *block).collect())
    }
}

impl StateTx for Model {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let rows = self.tables.entry(table).or_default();
        rows.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if let Some(rows) = self.tables.get_mut(&table) {
            rows.remove(key);
            if rows.is_empty() {
                self.tables.remove(&table);
            }
        }
        Ok(())
    }

    fn set_edit(&mut self, set: PinSet, seq: Seq, member: bool) -> Result<(), StoreError> {
        let (block, low) = seq.split();
        if member {
            self.sets.entry((set, block)).or_default().insert(low);
        } else if let Some(bits) = self.sets.get_mut(&(set, block)) {
            bits.remove(low);
            if bits.is_empty() {
                self.sets.remove(&(set, block));
            }
        }
        Ok(())
    }
}
