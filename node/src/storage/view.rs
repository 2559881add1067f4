//! What readers and the state machine see: the layers over one read transaction of the file.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ipfs_cluster_protocol::{
    id::Seq,
    state::tx::{PinSet, Row, StateRead, StateTx, StoreError, Table},
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, TableError};
use roaring::RoaringBitmap;

use super::{
    error::{damaged, failed},
    overlay::Overlay,
    row::unseal,
    tables::{Rows, SETS, TABLES, block_of, decode_block, set_key},
};

/// A read transaction keeps every page freed since from being used again: none is held longer.
const HOLD_MAX: Duration = Duration::from_secs(10);

type Stored = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Opened = OnceCell<Option<Stored>>;

/// One read transaction of the state file, its tables opened as they are used.
pub(super) struct Base {
    txn: ReadTransaction,
    tables: [Opened; TABLES.len()],
    sets: Opened,
    path: PathBuf,
    since: Instant,
    /// The overlay's generation it was opened at.
    pub(super) generation: u64,
}

impl Base {
    /// Opens one that fits the overlay as it is now.
    pub(super) fn open(overlay: &Overlay, path: &Path) -> Result<Self, StoreError> {
        let database = overlay.database()?;
        Ok(Self {
            txn: database.begin_read().map_err(failed(path))?,
            tables: Default::default(),
            sets: OnceCell::new(),
            path: path.to_path_buf(),
            since: Instant::now(),
            generation: overlay.generation,
        })
    }

    /// A table, or nothing when no row was ever put into it.
    fn opened<'a>(
        &'a self,
        cell: &'a Opened,
        rows: Rows,
    ) -> Result<Option<&'a Stored>, StoreError> {
        if self.since.elapsed() > HOLD_MAX {
            return Err(StoreError(format!(
                "a read was not over after {} s",
                HOLD_MAX.as_secs()
            )));
        }
        if cell.get().is_none() {
            let table = match self.txn.open_table(rows) {
                Ok(table) => Some(table),
                Err(TableError::TableDoesNotExist(_)) => None,
                Err(e) => return Err(failed(&self.path)(e)),
            };
            let _ = cell.set(table);
        }
        Ok(cell.get().and_then(Option::as_ref))
    }

    fn table(&self, table: Table) -> Result<Option<&Stored>, StoreError> {
        let i = table as usize;
        self.opened(&self.tables[i], TABLES[i].1)
    }

    fn unsealed<'a>(&self, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], StoreError> {
        unseal(key, stored).ok_or_else(|| damaged(&self.path, "a row's checksum is wrong"))
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(rows) = self.table(table)? else {
            return Ok(None);
        };
        let Some(stored) = rows.get(key).map_err(failed(&self.path))? else {
            return Ok(None);
        };
        Ok(Some(self.unsealed(key, stored.value())?.to_vec()))
    }

    /// Rows of the file in key order.
    pub(super) fn range<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> Result<Box<dyn Iterator<Item = Result<Row, StoreError>> + 'a>, StoreError> {
        let Some(rows) = self.table(table)? else {
            return Ok(Box::new(std::iter::empty()));
        };
        let range = match below {
            Some(below) => rows.range(from..below),
            None => rows.range(from..),
        }
        .map_err(failed(&self.path))?;
        Ok(Box::new(range.map(move |row| {
            let (key, value) = row.map_err(failed(&self.path))?;
            let key = key.value();
            let value = self.unsealed(key, value.value())?.to_vec();
            Ok((key.to_vec(), value))
        })))
    }

    pub(super) fn set_block(&self, set: PinSet, block: u64) -> Result<RoaringBitmap, StoreError> {
        let Some(rows) = self.opened(&self.sets, SETS)? else {
            return Ok(RoaringBitmap::new());
        };
        let key = set_key(set, block);
        let Some(stored) = rows.get(key.as_slice()).map_err(failed(&self.path))? else {
            return Ok(RoaringBitmap::new());
        };
        decode_block(self.unsealed(&key, stored.value())?).map_err(|e| damaged(&self.path, e))
    }

    pub(super) fn set_blocks(
        &self,
        set: PinSet,
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let Some(rows) = self.opened(&self.sets, SETS)? else {
            return Ok(Vec::new());
        };
        let prefix = set.key();
        let first = set_key(set, from);
        let mut out = Vec::new();
        for row in rows.range(first.as_slice()..).map_err(failed(&self.path))? {
            let (key, _) = row.map_err(failed(&self.path))?;
            if !key.value().starts_with(&prefix) || out.len() >= limit {
                break;
            }
            let block = block_of(key.value());
            out.push(block.ok_or_else(|| damaged(&self.path, "a pin set's key is malformed"))?);
        }
        Ok(out)
    }
}

/// A consistent view for readers.
pub(super) struct View<'a> {
    pub(super) overlay: &'a Overlay,
    pub(super) base: &'a Base,
}

impl StateRead for View<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.overlay.get(self.base, table, key)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.overlay.range(self.base, table, from, below, limit)
    }

    fn set_block(&self, set: PinSet, block: u64) -> Result<RoaringBitmap, StoreError> {
        self.overlay.set_block(self.base, set, block)
    }

    fn set_blocks(&self, set: PinSet, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        self.overlay.set_blocks(self.base, set, from, limit)
    }
}

/// The state machine's transaction: its writes go to the active layer at once. A failed one stops
/// the peer, so nothing needs to be undone.
pub(super) struct Tx<'a> {
    pub(super) overlay: &'a mut Overlay,
    pub(super) base: &'a Base,
}

impl StateRead for Tx<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.overlay.get(self.base, table, key)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.overlay.range(self.base, table, from, below, limit)
    }

    fn set_block(&self, set: PinSet, block: u64) -> Result<RoaringBitmap, StoreError> {
        self.overlay.set_block(self.base, set, block)
    }

    fn set_blocks(&self, set: PinSet, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        self.overlay.set_blocks(self.base, set, from, limit)
    }
}

impl StateTx for Tx<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.overlay.write(table, key, Some(value));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.overlay.write(table, key, None);
        Ok(())
    }

    fn set_edit(&mut self, set: PinSet, seq: Seq, member: bool) -> Result<(), StoreError> {
        self.overlay.set_edit(self.base, set, seq.0, member)
    }
}
