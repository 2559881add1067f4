//! Blocks on their way to the peers that shall hold them (`/ipfs-cluster/blocks/1`).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{codec, id::Cid};

/// About how many bytes of a frame belong to a block beside its data.
const BESIDE_DATA: usize = 64;

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

impl BlockBatch {
    /// The bytes of a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let blocks = self.blocks.iter();
        let bytes: usize = blocks.map(|block| block.data.len() + BESIDE_DATA).sum();
        codec::encode_sized(self, bytes + BESIDE_DATA)
    }
}

/// One answer per batch, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockAck {
    /// The batch is on the receiver's disk.
    Stored,
    /// It is not, and nothing more is taken.
    Failed(String),
}
