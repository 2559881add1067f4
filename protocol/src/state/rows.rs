//! The stored shapes: what the values of the state's tables look like on disk.
//!
//! Every row is a format byte and CBOR ([`crate::codec`]). Peers are stored by their member
//! number, which is short and never given to another peer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::tx::{PinSet, StateRead, StoreError, Table};
use crate::{
    codec,
    id::{Boot, Cid, Incarnation, MemberNo, PeerId, Rev, Seq},
    limits::ROW_BYTES_MAX,
    pin::{Holding, PinSpec},
    request::RequestId,
    time::Timestamp,
};

/// A row of [`Table::Pin`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are the large one"
)]
pub(crate) enum PinRow {
    #[serde(rename = "l")]
    Live(LiveRow),
    #[serde(rename = "t")]
    Tombstone(TombstoneRow),
}

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveRow {
    /// The last change.
    #[serde(rename = "r")]
    pub(crate) rev: Rev,
    /// When it was submitted.
    #[serde(rename = "t")]
    pub(crate) timestamp: Timestamp,
    /// Who holds it, in order of choice. May name removed members until the next change.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allocations: Vec<MemberNo>,
    /// Copies given by the last placement of a user.
    #[serde(rename = "c")]
    pub(crate) copies: u32,
    /// Who had it and has not yet reported that it is gone.
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) released: Vec<MemberNo>,
    /// In the form it has in the log.
    #[serde(rename = "s")]
    pub(crate) spec: PinSpec,
}

/// A removed pin that somebody has still to unpin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TombstoneRow {
    #[serde(rename = "c")]
    pub(crate) cid: Cid,
    /// The command that removed it.
    #[serde(rename = "r")]
    pub(crate) rev: Rev,
    /// When.
    #[serde(rename = "t")]
    pub(crate) removed_at: Timestamp,
    /// Who has not yet reported it gone; never empty.
    #[serde(rename = "h")]
    pub(crate) holders: Vec<MemberNo>,
}

impl PinRow {
    pub(crate) fn cid(&self) -> Cid {
        match self {
            Self::Live(row) => row.spec.cid,
            Self::Tombstone(row) => row.cid,
        }
    }

    pub(crate) fn live(&self) -> Option<&LiveRow> {
        match self {
            Self::Live(row) => Some(row),
            Self::Tombstone(_) => None,
        }
    }
}

impl PinRow {
    /// The sets that it puts its pin into.
    pub(crate) fn sets(&self) -> BTreeSet<PinSet> {
        let row = match self {
            Self::Live(row) => row,
            Self::Tombstone(row) => {
                return row
                    .holders
                    .iter()
                    .copied()
                    .map(PinSet::Tombstones)
                    .collect();
            }
        };
        let mut sets: BTreeSet<_> = row.released.iter().copied().map(PinSet::Released).collect();
        match row.spec.holding() {
            Holding::Nobody => {}
            Holding::Everywhere => {
                sets.insert(PinSet::Everywhere);
            }
            Holding::Allocated { .. } => {
                sets.extend(row.allocations.iter().copied().map(PinSet::Allocated));
                if u32::try_from(row.allocations.len()) != Ok(row.copies) {
                    sets.insert(PinSet::Unsettled);
                }
            }
        }
        sets
    }
}

/// A row of [`Table::Member`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberRow {
    #[serde(rename = "p")]
    pub(crate) peer: PeerId,
    #[serde(rename = "i")]
    pub(crate) incarnation: Incarnation,
    #[serde(rename = "n")]
    pub(crate) name: String,
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "d", default)]
    pub(crate) draining: bool,
    #[serde(rename = "w", default)]
    pub(crate) down_since: Option<Timestamp>,
    /// Set when it was removed; the row then stays until nothing refers to its number.
    #[serde(rename = "x", default)]
    pub(crate) departed_at: Option<Timestamp>,
}

/// A row of [`Table::Session`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionRow {
    #[serde(rename = "b")]
    pub(crate) boot: Boot,
    #[serde(rename = "f")]
    pub(crate) floor: u64,
    /// The applied `n >= floor`, ascending, as runs of consecutive numbers.
    #[serde(rename = "a")]
    pub(crate) applied: Vec<Run>,
}

/// `n, n + 1, …` were applied as `rev, rev + 1, …`: a burst of one origin is one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64)", into = "(u64, u64, u64)")]
pub(crate) struct Run {
    pub(crate) n: u64,
    pub(crate) rev: Rev,
    pub(crate) len: u64,
}

impl From<(u64, u64, u64)> for Run {
    fn from((n, rev, len): (u64, u64, u64)) -> Self {
        let rev = Rev(rev);
        Self { n, rev, len }
    }
}

impl From<Run> for (u64, u64, u64) {
    fn from(run: Run) -> Self {
        (run.n, run.rev.0, run.len)
    }
}

/// A row of [`Table::Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestRow {
    /// The pin it asked for.
    #[serde(rename = "q")]
    pub(crate) seq: Seq,
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) origins: Vec<String>,
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The key of a request's row.
pub(crate) fn request_key(id: RequestId) -> [u8; 8] {
    id.0.to_be_bytes()
}

/// The request a key, or the end of an index key, names.
pub(crate) fn request_of_key(table: Table, key: &[u8]) -> Result<RequestId, StoreError> {
    key.last_chunk::<8>()
        .map(|bytes| RequestId(u64::from_be_bytes(*bytes)))
        .ok_or_else(|| bad(table, key, "the key has no request id"))
}

/// The key of one request of a pin.
pub(crate) fn requested_key(seq: Seq, id: RequestId) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&seq_key(seq));
    key[8..].copy_from_slice(&request_key(id));
    key
}

/// The key of a pin's row.
pub(crate) fn seq_key(seq: Seq) -> [u8; 8] {
    seq.0.to_be_bytes()
}

/// The pin a key, or the end of an index key, names.
pub(crate) fn seq_of_key(table: Table, key: &[u8]) -> Result<Seq, StoreError> {
    key.last_chunk::<8>()
        .map(|bytes| Seq(u64::from_be_bytes(*bytes)))
        .ok_or_else(|| bad(table, key, "the key has no seq"))
}

/// The key of a member's row.
pub(crate) fn member_key(no: MemberNo) -> [u8; 4] {
    no.0.to_be_bytes()
}

/// Reads and decodes one row.
pub(crate) fn load<T: DeserializeOwned>(
    read: &dyn StateRead,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    match read.get(table, key)? {
        Some(value) => decode(table, key, &value).map(Some),
        None => Ok(None),
    }
}

/// Decodes a row's value.
pub(crate) fn decode<T: DeserializeOwned>(
    table: Table,
    key: &[u8],
    value: &[u8],
) -> Result<T, StoreError> {
    codec::decode(value, ROW_BYTES_MAX).map_err(|e| bad(table, key, e))
}

/// A row that is not what it should be.
pub(crate) fn bad(table: Table, key: &[u8], why: impl std::fmt::Display) -> StoreError {
    StoreError(format!(
        "the state's {table:?} row {}: {why}",
        hex::encode(key)
    ))
}

/// The seq of a CID's row, live or tombstone.
pub(crate) fn seq_of_cid(read: &dyn StateRead, cid: &Cid) -> Result<Option<Seq>, StoreError> {
    match read.get(Table::Cid, &cid.to_bytes())? {
        Some(value) => seq_of_key(Table::Cid, &value).map(Some),
        None => Ok(None),
    }
}

/// The row of a pin.
pub(crate) fn pin_row(read: &dyn StateRead, seq: Seq) -> Result<Option<PinRow>, StoreError> {
    load(read, Table::Pin, &seq_key(seq))
}

/// The row of a CID, with its seq.
pub(crate) fn pin_row_of_cid(
    read: &dyn StateRead,
    cid: &Cid,
) -> Result<Option<(Seq, PinRow)>, StoreError> {
    let Some(seq) = seq_of_cid(read, cid)? else {
        return Ok(None);
    };
    match pin_row(read, seq)? {
        Some(row) => Ok(Some((seq, row))),
        None => Err(bad(Table::Cid, &cid.to_bytes(), "its pin row is missing")),
    }
}
