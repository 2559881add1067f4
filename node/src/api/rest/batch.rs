//! Blocks of an archive, gathered until there are enough of them to be stored in one go.

use ipfs_cluster_protocol::{content::Block, limits::BLOCK_PUT_BLOCKS_MAX};

/// Blocks are sent once so many bytes of them have come together.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    blocks: Vec<Block>,
    bytes: usize,
}

impl Batch {
    /// One more; all that wait, when they are enough or a great many.
    pub(crate) fn push(&mut self, block: Block) -> Option<Vec<Block>> {
        self.bytes += block.data.len();
        self.blocks.push(block);
        let enough = self.bytes >= BATCH_BYTES || self.blocks.len() >= BLOCK_PUT_BLOCKS_MAX;
        enough.then(|| self.take())
    }

    /// All that wait.
    pub(crate) fn take(&mut self) -> Vec<Block> {
        self.bytes = 0;
        std::mem::take(&mut self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::content::{RAW, hash::name_like};

    use super::*;

    fn block(bytes: usize) -> Block {
        let data = bytes::Bytes::from(vec![7; bytes]);
        let cid = name_like(1, RAW, 0x12, 32, &data).unwrap();
        Block { cid, data }
    }

    #[test]
    fn blocks_leave_when_they_are_large_or_many() {
        let mut batch = Batch::default();
        assert_eq!(batch.push(block(BATCH_BYTES - 1)), None);
        assert_eq!(batch.push(block(1)).unwrap().len(), 2);
        for _ in 1..BLOCK_PUT_BLOCKS_MAX {
            assert_eq!(batch.push(block(0)), None);
        }
        assert_eq!(batch.push(block(0)).unwrap().len(), BLOCK_PUT_BLOCKS_MAX);
        assert_eq!(batch.push(block(1)), None);
        assert_eq!(batch.take(), [block(1)]);
        assert_eq!(batch.take(), []);
    }
}
