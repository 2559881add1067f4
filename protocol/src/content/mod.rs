//! Content formats: bytes to blocks and back, as small machines that hold no more than they must.
//!
//! - to blocks: [`chunk`] cuts, [`layout`] builds the tree, [`import`] joins both for a file,
//!   [`directory`] (with [`hamt`] for the large ones) and [`tree`] for folders, all under [`options`];
//! - the blocks themselves: [`dag_pb`], [`unixfs`], and [`hash`], which names and checks them;
//! - back: [`links`] (children of any block), [`read`] (bytes of a file), [`path`] (names in folders),
//!   [`list`] (what is in a folder);
//! - in archives: [`car`]; over several peers: [`shard_list`].
//!
//! **Architecture invariant:** blocks come from strangers. Nothing here panics on any bytes, recurses
//! by their depth, or allocates by a length they claim.

pub mod car;
mod cbor;
pub mod chunk;
pub mod dag_pb;
pub mod directory;
mod hamt;
pub mod hash;
pub mod import;
pub mod ipld;
pub mod layout;
pub mod links;
pub mod list;
pub mod options;
pub mod path;
pub mod read;
mod shard;
pub mod shard_list;
pub mod tree;
pub mod unixfs;
mod wire;

#[cfg(test)]
mod vectors;

use bytes::Bytes;

use crate::id::Cid;

/// Multicodec of a block of plain bytes.
pub const RAW: u64 = 0x55;
/// Multicodec of a dag-pb node.
pub const DAG_PB: u64 = 0x70;
/// Multicodec of a dag-cbor node.
pub const DAG_CBOR: u64 = 0x71;
/// Multicodec of a dag-json node.
pub const DAG_JSON: u64 = 0x0129;

/// A block and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub cid: Cid,
    /// Its bytes.
    pub data: Bytes,
}

/// The root of something imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Its name.
    pub cid: Cid,
    /// Bytes of the file; 0 for a folder.
    pub file_size: u64,
    /// Bytes of all blocks below and of itself, as Kubo's `Size` and dag-pb's `Tsize` count them.
    pub dag_size: u64,
}
