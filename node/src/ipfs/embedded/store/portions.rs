//! The blocks of the store, some at a time: all of a shard's files, or all of a pack.

use std::{collections::HashSet, sync::Arc};

use ipfs_cluster_protocol::id::Cid;

use super::{Inner, Key, Store, StoreError, WRITE_LANES, files::StoredBlock, lane_of};

/// Blocks removed before the lane is given to others.
const SWEEP_BLOCKS: usize = 64;

/// Some of the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Portion {
    /// Those with files in a shard's folder.
    Shard(String),
    /// Those of a pack of a lane.
    Pack(usize, u32),
}

impl Portion {
    fn lane(&self) -> usize {
        match self {
            Self::Shard(shard) => lane_of(shard),
            Self::Pack(lane, _) => *lane,
        }
    }
}

/// What a look at blocks found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Verified {
    pub(in super::super) whole: u64,
    pub(in super::super) corrupt: Vec<Cid>,
}

impl Store {
    /// All there are.
    pub(in super::super) async fn portions(&self) -> Result<Vec<Portion>, StoreError> {
        let files = self.0.files.clone();
        let shards = self.reader().run(move || files.shards()).await??;
        let packs = self.0.write.iter().enumerate();
        let packs = packs.flat_map(|(lane, writer)| {
            let numbers = writer.packs.numbers().into_iter();
            numbers.map(move |number| Portion::Pack(lane, number))
        });
        Ok(shards
            .into_iter()
            .map(Portion::Shard)
            .chain(packs)
            .collect())
    }

    /// Removes the blocks of a portion that are neither marked nor kept; names them.
    pub(in super::super) async fn sweep(
        &self,
        portion: Portion,
        marks: Arc<HashSet<Key>>,
    ) -> Result<Vec<Cid>, StoreError> {
        let mut unmarked = self.stored(portion.clone()).await?;
        unmarked.retain(|block| !marks.contains(&block.key));
        let lane = &self.0.write[portion.lane()].lane;
        let mut removed = Vec::new();
        for batch in unmarked.chunks(SWEEP_BLOCKS) {
            let (inner, portion, batch) = (self.0.clone(), portion.clone(), batch.to_vec());
            removed.extend(lane.run(move || inner.remove(&portion, batch)).await??);
        }
        if let Portion::Pack(n, number) = portion {
            let (writer, forgotten) = (self.0.write[n].clone(), !removed.is_empty());
            let tidied = lane.run(move || writer.packs.tidy(number, forgotten));
            if let Err(error) = tidied.await? {
                // What is there is still there, and what is gone is gone.
                tracing::debug!(%error, "a pack of blocks cannot be moved yet");
            }
        }
        Ok(removed)
    }

    /// After everything was swept: gives back room that could not be given back then, since moving
    /// what is left of a pack takes some room itself.
    pub(in super::super) async fn give_back(&self) -> Result<(), StoreError> {
        // What one lane gives back may be what another one needs.
        for _ in 0..WRITE_LANES {
            let mut done = Ok(());
            for writer in &self.0.write {
                let of = writer.clone();
                let moved = writer.lane.run(move || of.packs.give_back()).await?;
                done = done.and(moved);
            }
            match done {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "cannot give back the room of removed blocks"),
            }
        }
        Ok(())
    }

    /// Names the blocks of a portion, as plain bytes.
    pub(in super::super) async fn list(&self, portion: Portion) -> Result<Vec<Cid>, StoreError> {
        let blocks = self.stored(portion).await?;
        Ok(blocks.into_iter().map(|block| block.cid).collect())
    }

    /// Reads the blocks of a portion. What is corrupt is moved aside.
    pub(in super::super) async fn verify(&self, portion: Portion) -> Result<Verified, StoreError> {
        let mut found = Verified::default();
        for cid in self.list(portion).await? {
            match self.get(&cid).await {
                Ok(Some(_)) => found.whole += 1,
                // Removed since the portion was listed.
                Ok(None) => {}
                Err(StoreError::Corrupt { cid, .. }) => found.corrupt.push(cid),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn stored(&self, portion: Portion) -> Result<Vec<StoredBlock>, StoreError> {
        match portion {
            Portion::Shard(shard) => {
                let files = self.0.files.clone();
                self.reader().run(move || files.blocks_of(&shard)).await?
            }
            // In its lane: what is in the last pack changes there.
            Portion::Pack(n, number) => {
                let writer = self.0.write[n].clone();
                let lane = writer.lane.clone();
                lane.run(move || writer.packs.blocks_of(number)).await?
            }
        }
    }
}

impl Inner {
    /// Removes blocks unless they are kept. To be called in their lane.
    fn remove(&self, portion: &Portion, blocks: Vec<StoredBlock>) -> Result<Vec<Cid>, StoreError> {
        let mut removed = Vec::with_capacity(blocks.len());
        for block in blocks {
            let gone = self.touched.unless_kept(&block.key, || match portion {
                Portion::Shard(_) => self.files.remove(&block),
                Portion::Pack(n, _) => Ok(self.write[*n].packs.forget(&block)),
            });
            if gone.transpose()? == Some(true) {
                self.shrunk(block.len);
                removed.push(block.cid);
            }
        }
        Ok(removed)
    }
}
