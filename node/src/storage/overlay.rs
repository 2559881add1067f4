//! What was applied and is not in the state file yet: layers of changed rows over the file.
//!
//! One layer takes changes; when the flusher writes it, it is frozen (still read, never changed)
//! until the file holds it. Newer layers hide older ones, all hide the file, so a reader sees the
//! same rows whether it looks just before or just after a flush.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use ipfs_cluster_protocol::state::tx::{PinSet, Row, StoreError, Table};
use redb::Database;
use roaring::RoaringBitmap;

use super::{
    tables::{Position, TABLES},
    view::Base,
};

/// Bytes counted for a row beside key and value.
const ROW_OVERHEAD: usize = 64;

/// Changed rows and pin set blocks, and the position they lead to.
#[derive(Debug, Default)]
pub(super) struct Layer {
    rows: [BTreeMap<Vec<u8>, Option<Vec<u8>>>; TABLES.len()],
    pub(super) sets: BTreeMap<(PinSet, u64), RoaringBitmap>,
    /// About how much memory it takes.
    pub(super) bytes: usize,
    /// Set once anything was applied to it.
    pub(super) position: Option<Position>,
}

impl Layer {
    pub(super) fn is_empty(&self) -> bool {
        self.position.is_none()
    }

    /// Rows of a table in key order; `None` means removed.
    pub(super) fn rows(&self, table: Table) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.rows[table as usize]
    }

    fn write(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        let len = value.map_or(0, <[u8]>::len);
        let old = self.rows[table as usize].insert(key.to_vec(), value.map(<[u8]>::to_vec));
        match old {
            Some(old) => {
                let old_len = old.map_or(0, |v| v.len());
                self.bytes = (self.bytes + len).saturating_sub(old_len);
            }
            None => self.bytes += ROW_OVERHEAD + key.len() + len,
        }
    }
}

/// The file and the layers over it.
#[derive(Debug)]
pub(super) struct Overlay {
    /// The open state file; gone once it was closed.
    pub(super) database: Option<Arc<Database>>,
    /// Rises when the file takes over a layer or is replaced: a [`Base`] opened before is stale.
    pub(super) generation: u64,
    /// Being written to the file.
    pub(super) frozen: Option<Arc<Layer>>,
    /// Takes changes.
    pub(super) active: Layer,
    /// Where the state is, layers included.
    pub(super) position: Position,
}

impl Overlay {
    pub(super) fn new(database: Arc<Database>, position: Position) -> Self {
        Self {
            database: Some(database),
            generation: 0,
            frozen: None,
            active: Layer::default(),
            position,
        }
    }

    /// The open file.
    pub(super) fn database(&self) -> Result<&Arc<Database>, StoreError> {
        let closed = || StoreError("the state is closed".into());
        self.database.as_ref().ok_or_else(closed)
    }

    /// Memory taken by all layers.
    pub(super) fn bytes(&self) -> usize {
        self.active.bytes + self.frozen.as_ref().map_or(0, |l| l.bytes)
    }

    /// Newest first.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        [Some(&self.active), self.frozen.as_deref()]
            .into_iter()
            .flatten()
    }

    pub(super) fn get(
        &self,
        base: &Base,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        for layer in self.layers() {
            if let Some(value) = layer.rows(table).get(key) {
                return Ok(value.clone());
            }
        }
        base.get(table, key)
    }

    pub(super) fn range(
        &self,
        base: &Base,
        table: Table,
        from: &[u8],
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if below.is_some_and(|below| below <= from) || limit == 0 {
            return Ok(Vec::new());
        }
        let bounds = (
            Bound::Included(from),
            below.map_or(Bound::Unbounded, Bound::Excluded),
        );
        let mut changed: Vec<_> = self
            .layers()
            .map(|l| l.rows(table).range::<[u8], _>(bounds).peekable())
            .collect();
        let mut stored = base.range(table, from, below)?;
        let mut next_stored = stored.next().transpose()?;
        let mut out = Vec::new();
        while out.len() < limit {
            let least = changed
                .iter_mut()
                .filter_map(|rows| rows.peek().map(|(key, _)| key.as_slice()))
                .chain(next_stored.as_ref().map(|(key, _)| key.as_slice()))
                .min()
                .map(<[u8]>::to_vec);
            let Some(key) = least else { break };
            // Every source that has this key moves on; the first (newest) of them counts.
            let mut value: Option<Option<Vec<u8>>> = None;
            for rows in &mut changed {
                if let Some((_, v)) = rows.next_if(|(k, _)| **k == key) {
                    value.get_or_insert_with(|| v.clone());
                }
            }
            if next_stored.as_ref().is_some_and(|(k, _)| *k == key) {
                let taken = next_stored.take().map(|(_, v)| v);
                value.get_or_insert(taken);
                next_stored = stored.next().transpose()?;
            }
            if let Some(Some(value)) = value {
                out.push((key, value));
            }
        }
        Ok(out)
    }

    pub(super) fn set_block(
        &self,
        base: &Base,
        set: PinSet,
        block: u64,
    ) -> Result<RoaringBitmap, StoreError> {
        for layer in self.layers() {
            if let Some(bitmap) = layer.sets.get(&(set, block)) {
                return Ok(bitmap.clone());
            }
        }
        base.set_block(set, block)
    }

    pub(super) fn set_blocks(
        &self,
        base: &Base,
        set: PinSet,
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let mut seen = BTreeMap::new();
        for layer in self.layers() {
            for ((_, block), bitmap) in layer.sets.range((set, from)..=(set, u64::MAX)) {
                seen.entry(*block).or_insert(!bitmap.is_empty());
            }
        }
        let mut found: BTreeSet<u64> = seen
            .iter()
            .filter_map(|(block, filled)| filled.then_some(*block))
            .collect();
        // Blocks emptied in the layers are skipped, so up to that many more are asked of the file.
        let wanted = limit.saturating_add(seen.len());
        let stored = base.set_blocks(set, from, wanted)?;
        found.extend(stored.into_iter().filter(|b| !seen.contains_key(b)));
        Ok(found.into_iter().take(limit).collect())
    }

    pub(super) fn write(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        self.active.write(table, key, value);
    }

    pub(super) fn set_edit(
        &mut self,
        base: &Base,
        set: PinSet,
        seq: u64,
        member: bool,
    ) -> Result<(), StoreError> {
        let (block, low) = (seq >> 16, u32::from(seq as u16));
        if !self.active.sets.contains_key(&(set, block)) {
            let bitmap = self.set_block(base, set, block)?;
            self.active.bytes += ROW_OVERHEAD + bitmap.serialized_size();
            self.active.sets.insert((set, block), bitmap);
        }
        if let Some(bitmap) = self.active.sets.get_mut(&(set, block)) {
            let changed = if member {
                bitmap.insert(low)
            } else {
                bitmap.remove(low)
            };
            if changed && member {
                self.active.bytes += 2;
            }
        }
        Ok(())
    }
}
