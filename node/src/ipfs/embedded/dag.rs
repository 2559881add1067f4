//! Fetches a whole DAG, or finds that all of it is here.

use std::collections::BTreeSet;

use futures::{StreamExt, stream::FuturesUnordered};
use ipfs_cluster_protocol::{
    content::{
        RAW,
        links::{LinksError, links},
        options::CHUNK_BYTES,
    },
    id::Cid,
    limits::{DAG_FETCH_BYTES_MAX, DAG_FETCHES_MAX, DAG_PENDING_MAX, DAG_SEEN_MAX},
};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use super::{
    bitswap::{Bitswap, FetchError, Session},
    pins::Reach,
    store::Store,
    touched::Run,
};
use crate::ipfs::PinProgress;

/// Why a DAG could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum DagError {
    /// No further block came.
    #[error("no progress for {0:?}")]
    Stalled(Duration),
    /// One block cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A block whose links are not understood.
    #[error("{cid}: {error}")]
    Links {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong with it.
        error: LinksError,
    },
    /// More links to follow than are remembered.
    #[error("the DAG is too wide: more than {DAG_PENDING_MAX} links wait to be followed")]
    TooWide,
}

/// Where a DAG comes from.
pub(super) struct Source<'a> {
    pub(super) bitswap: &'a Bitswap,
    pub(super) store: &'a Store,
    /// Keeps what was found from being collected before the pin is there.
    pub(super) run: &'a Run,
    /// No block for so long fails the fetch.
    pub(super) stall: Duration,
}

impl Source<'_> {
    /// Fetches what is missing of a DAG; all of it is durable at return.
    pub(super) async fn fetch(
        &self,
        root: Cid,
        reach: Reach,
        progress: &mut (dyn FnMut(PinProgress) + Send),
    ) -> Result<(), DagError> {
        let session = self.bitswap.keeping_session();
        let mut walk = Walk::new(root);
        // Of what is found later, links are followed only where the pin holds everything.
        let mut follow = reach != Reach::Root;
        let mut fetching = FuturesUnordered::new();
        let mut done = PinProgress::default();
        let mut moved = Instant::now();
        loop {
            while fetching.len() < window(done)
                && let Some(cid) = walk.pending.pop()
            {
                fetching.push(self.fetch_one(&session, cid, follow));
                follow = reach == Reach::All;
            }
            let next = timeout_at(moved + self.stall, fetching.next());
            let next = next.await.map_err(|_| DagError::Stalled(self.stall))?;
            let Some(fetched) = next else { break };
            let (bytes, children) = fetched?;
            moved = Instant::now();
            done.blocks += 1;
            done.bytes = done.bytes.saturating_add(bytes);
            progress(done);
            walk.follow(children)?;
        }
        // What was found here may have been written by a process that died before it was synced.
        let settled = self.store.settled().await;
        settled.map_err(|e| DagError::Fetch(e.into()))
    }

    /// One block: its length and the blocks it links to. A leaf that is here is not even read.
    async fn fetch_one(
        &self,
        session: &Session,
        cid: Cid,
        follow: bool,
    ) -> Result<(u64, Vec<Cid>), DagError> {
        self.run.touch(&cid);
        if !follow || self.store.is_leaf(&cid) {
            let found = self
                .store
                .lens(vec![cid])
                .await
                .map_err(FetchError::Store)?;
            if let [Some(len)] = found[..] {
                return Ok((len, vec![]));
            }
        }
        let block = session.get(&cid).await?;
        let children = match follow {
            true => links(&cid, &block).map_err(|error| DagError::Links {
                cid: Box::new(cid),
                error,
            })?,
            false => vec![],
        };
        Ok((block.len() as u64, children))
    }
}

/// How many blocks may be under way after so many were seen: as many as take a bounded part of memory
/// if they are like those. The first ones are taken for blocks of the usual size.
fn window(seen: PinProgress) -> usize {
    const FIRST: u64 = 8;
    let bytes = seen.bytes.saturating_add(FIRST * CHUNK_BYTES as u64);
    let mean = bytes / seen.blocks.saturating_add(FIRST);
    let fit = DAG_FETCH_BYTES_MAX / mean.max(1);
    usize::try_from(fit).map_or(DAG_FETCHES_MAX, |fit| fit.clamp(1, DAG_FETCHES_MAX))
}

/// What is still to be visited. The last link found goes first, so that little waits.
struct Walk {
    pending: Vec<Cid>,
    /// Inner nodes met so far. Leaves are not remembered: they are most of a DAG, and visiting one
    /// twice costs no more than looking whether it is here.
    seen: BTreeSet<Box<[u8]>>,
}

impl Walk {
    fn new(root: Cid) -> Self {
        Self {
            pending: vec![root],
            seen: BTreeSet::from([root.to_bytes().into()]),
        }
    }

    fn follow(&mut self, children: Vec<Cid>) -> Result<(), DagError> {
        for child in children.into_iter().rev() {
            if child.0.codec() != RAW {
                let key = child.to_bytes().into();
                if self.seen.contains(&key) {
                    continue;
                }
                if self.seen.len() < DAG_SEEN_MAX {
                    self.seen.insert(key);
                }
            }
            if self.pending.len() >= DAG_PENDING_MAX {
                return Err(DagError::TooWide);
            }
            self.pending.push(child);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_blocks_are_fetched_many_at_a_time_and_large_ones_few() {
        let seen = |blocks: u64, each: u64| PinProgress {
            blocks,
            bytes: blocks * each,
        };
        assert_eq!(window(seen(0, 0)), 32);
        assert_eq!(window(seen(1000, CHUNK_BYTES as u64)), 32);
        assert_eq!(window(seen(1000, 10_000)), DAG_FETCHES_MAX);
        assert_eq!(window(seen(1000, 2 * 1024 * 1024)), 4);
        let huge = PinProgress {
            blocks: 1,
            bytes: u64::MAX,
        };
        assert_eq!(window(huge), 1);
    }
}
