//! Blocks on their way to the peers that shall hold them (`/ipfs-cluster/blocks/1`).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::Cid;

/// A block in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFrame {
    /// Its name; the receiver checks it against the data.
    #[serde(rename = "c")]
    pub cid: Cid,
    /// At most `BLOCK_BYTES_MAX`.
    #[serde(rename = "d")]
    pub data: Bytes,
}

/// Blocks to store. A frame of none ends the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockBatch {
    /// In order.
    #[serde(rename = "b")]
    pub blocks: Vec<BlockFrame>,
}

/// One answer per batch, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockAck {
    /// The batch is on the receiver's disk.
    Stored,
    /// It is not, and nothing more is taken.
    Failed(String),
}
