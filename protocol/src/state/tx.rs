//! The store a state machine runs on. Two implementations: ordered maps here (tests, model) and the
//! state file of `node::storage`.

use roaring::RoaringBitmap;

use crate::id::{MemberNo, Seq};

/// A table of the state; its ordinal is on disk and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// One row (`core`): cluster, epoch, next rev, next seq, feature level, rolling hash…
    System = 0,
    /// `seq` (u64 big-endian) → pin row, live or tombstone.
    Pin = 1,
    /// CID bytes → `seq`.
    Cid = 2,
    /// Member number (u32 big-endian) → member row, also of removed ones until they are swept.
    Member = 3,
    /// Peer ID bytes → member number.
    Peer = 4,
    /// Origin's peer ID bytes → session row.
    Session = 5,
    /// escaped name, `seq` → nothing.
    Name = 6,
    /// escaped key, escaped start of the value, `seq` → nothing.
    Meta = 7,
    /// expiry ms (u64 big-endian), `seq` → nothing.
    Expiry = 8,
    /// Request id (u64 big-endian) → request row.
    Request = 9,
    /// `seq`, request id → nothing: who asked for a pin.
    Requested = 10,
}

impl Table {
    /// All tables, in the order of their ordinals.
    pub const ALL: [Self; 11] = [
        Self::System,
        Self::Pin,
        Self::Cid,
        Self::Member,
        Self::Peer,
        Self::Session,
        Self::Name,
        Self::Meta,
        Self::Expiry,
        Self::Request,
        Self::Requested,
    ];
}

/// A set of pins, kept as bitmaps of 65 536 seqs each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PinSet {
    /// Live pins allocated to this member by name (not the everywhere ones). Of a removed member:
    /// those whose loss is still to be made up for.
    Allocated(MemberNo),
    /// Live pins that every member holds.
    Everywhere,
    /// Tombstones that this member has still to report gone.
    Tombstones(MemberNo),
    /// Pins this member was released from and has still to unpin.
    Released(MemberNo),
    /// Live pins with more or fewer allocations than copies wanted.
    Unsettled,
}

impl PinSet {
    /// The set as bytes, sorted as the sets are: a kind that is on disk and never changes, and the
    /// member's number.
    #[must_use]
    pub fn key(self) -> [u8; 5] {
        let (kind, member) = match self {
            Self::Allocated(member) => (0, member.0),
            Self::Everywhere => (1, 0),
            Self::Tombstones(member) => (2, member.0),
            Self::Released(member) => (3, member.0),
            Self::Unsettled => (4, 0),
        };
        let [a, b, c, d] = member.to_be_bytes();
        [kind, a, b, c, d]
    }

    /// The set of this key.
    #[must_use]
    pub fn from_key(key: [u8; 5]) -> Option<Self> {
        let [kind, a, b, c, d] = key;
        let member = MemberNo(u32::from_be_bytes([a, b, c, d]));
        match (kind, member.0) {
            (0, _) => Some(Self::Allocated(member)),
            (1, 0) => Some(Self::Everywhere),
            (2, _) => Some(Self::Tombstones(member)),
            (3, _) => Some(Self::Released(member)),
            (4, 0) => Some(Self::Unsettled),
            _ => None,
        }
    }
}

/// The store failed: a file error or a row that does not decode. The peer stops on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Reads of one consistent state.
pub trait StateRead {
    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows with `key >= from`, in key order; `below` (exclusive) ends the range.
    fn range(
        &self,
        table: Table,
        from: &[u8],
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// The block of a pin set that holds seqs `block * 65 536 ..`, empty if there is none; values
    /// are the low 16 bits of the seqs.
    fn set_block(&self, set: PinSet, block: u64) -> Result<RoaringBitmap, StoreError>;

    /// Numbers (`>= from`, ascending, at most `limit`) of a pin set's blocks that are not empty.
    fn set_blocks(&self, set: PinSet, from: u64, limit: usize) -> Result<Vec<u64>, StoreError>;
}

/// Reads and writes of one transaction; reads see its own writes.
pub trait StateTx: StateRead {
    /// Sets a key.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a key, if it is there.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;

    /// Puts a pin into a set, or takes it out.
    fn set_edit(&mut self, set: PinSet, seq: Seq, member: bool) -> Result<(), StoreError>;
}
