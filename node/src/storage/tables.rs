//! How the state lies in `state.redb`: one redb table per table of the state, one for the pin sets,
//! one for what the file says of itself. Names, keys and tags are on disk and never change.

use ipfs_cluster_protocol::{
    codec,
    id::Rev,
    state::tx::{PinSet, Table},
    time::Timestamp,
};
use redb::TableDefinition;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

/// Raw bytes to raw bytes; values are sealed rows.
pub(super) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Tables of the state, in the order of their ordinals.
pub(super) const TABLES: [(Table, Rows); 11] = [
    (Table::System, TableDefinition::new("system")),
    (Table::Pin, TableDefinition::new("pin")),
    (Table::Cid, TableDefinition::new("cid")),
    (Table::Member, TableDefinition::new("member")),
    (Table::Peer, TableDefinition::new("peer")),
    (Table::Session, TableDefinition::new("session")),
    (Table::Name, TableDefinition::new("name")),
    (Table::Meta, TableDefinition::new("meta")),
    (Table::Expiry, TableDefinition::new("expiry")),
    (Table::Request, TableDefinition::new("request")),
    (Table::Requested, TableDefinition::new("requested")),
];

/// Blocks of pin sets: see [`set_key`].
pub(super) const SETS: Rows = TableDefinition::new("sets");
/// One row: [`POSITION_KEY`].
pub(super) const FILE: Rows = TableDefinition::new("file");
/// Where [`Position`] is.
pub(super) const POSITION_KEY: &[u8] = b"position";

/// Term and index of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPos {
    /// The term of the leader that made it.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
}

/// How far a state has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last entry applied.
    pub log: Option<LogPos>,
    /// The last membership applied, in the consensus' own encoding; empty when there was none.
    #[serde(with = "serde_bytes")]
    pub membership: Vec<u8>,
    /// The last command applied.
    pub rev: Rev,
    /// The time of the last entry of commands.
    pub at: Timestamp,
}

/// Length of what comes before the block number in a key of [`SETS`].
const SET_PREFIX: usize = 5;

/// The set's key, then the block number, big-endian.
pub(super) fn set_key(set: PinSet, block: u64) -> Vec<u8> {
    let mut key = set.key().to_vec();
    key.extend_from_slice(&block.to_be_bytes());
    key
}

/// The block number of a key of [`SETS`].
pub(super) fn block_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(SET_PREFIX..)?.try_into().ok()?))
}

/// Format byte and roaring's portable form.
pub(super) fn encode_block(block: &RoaringBitmap) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + block.serialized_size());
    out.push(codec::FORMAT);
    block
        .serialize_into(&mut out)
        .expect("writing to memory does not fail");
    out
}

/// The inverse of [`encode_block`]; the row's checksum was looked at before.
pub(super) fn decode_block(bytes: &[u8]) -> Result<RoaringBitmap, String> {
    match bytes.split_first() {
        Some((&codec::FORMAT, body)) => {
            RoaringBitmap::deserialize_from(body).map_err(|e| e.to_string())
        }
        Some((format, _)) => Err(format!("format {format} of a pin set is not known")),
        None => Err("an empty pin set block".into()),
    }
}
