//! Garbage collection: marks what the pins hold, then removes the rest, portion by portion.
//!
//! Adds, pins and reads go on meanwhile: marking reads as any reader does, and removing takes a lane
//! for a few blocks at a time. What may be needed by an add or a pin under way is left alone (see
//! [`super::touched`]). A pin that is not whole stops the collection: what is below its missing block
//! could not be marked.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{StreamExt, stream, stream::FuturesUnordered};
use ipfs_cluster_protocol::{
    content::{
        RAW,
        hash::inlined,
        links::{LinksError, links},
    },
    id::Cid,
    limits::{DAG_PENDING_MAX, GC_MARKS_MAX},
};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::{
    Embedded,
    pins::Reach,
    store::Portion,
    touched::{Collecting, Key, key_of},
};
use crate::ipfs::{IpfsError, IpfsStream};

/// Blocks read at a time.
const READS: usize = 8;
/// Pins marked between two looks at the table.
const PAGE: usize = 256;
/// Percent of the store's maximum at which garbage is collected unasked, and at which that stops.
const HIGH: u64 = 90;
const LOW: u64 = 80;
/// Between two collections that nobody asked for.
const PAUSE: Duration = Duration::from_secs(60);

/// What the pins hold.
#[derive(Default)]
struct Marks {
    blocks: HashSet<Key>,
    /// Blocks whose links were followed, and as what they were read: a block may be linked as plain
    /// bytes in one place, and as a node in another.
    followed: HashSet<(Key, u64)>,
}

impl Marks {
    /// Marks a block; whether its links are still to be followed.
    fn mark(&mut self, cid: &Cid) -> bool {
        let codec = cid.0.codec();
        // Names that carry their blocks may end alike and yet link to others. None can be within
        // itself, so following them each time comes to an end.
        if inlined(cid).is_some() {
            return codec != RAW;
        }
        let Some(key) = key_of(cid) else {
            return codec != RAW;
        };
        self.blocks.insert(key);
        codec != RAW && self.followed.insert((key, codec))
    }
}

/// A collection that has marked and now removes.
struct Sweep {
    marks: Arc<HashSet<Key>>,
    portions: Vec<Portion>,
    removed: Vec<Cid>,
    /// Held until the end.
    _collecting: Collecting,
    _alone: OwnedMutexGuard<()>,
}

impl Embedded {
    /// Removes the blocks that no pin holds, and names them as it goes. It stops where the stream is
    /// dropped.
    pub(super) async fn collect(&self) -> Result<IpfsStream<Cid>, IpfsError> {
        let busy = || IpfsError::Refused("garbage is being collected already".to_owned());
        let alone = self
            .collector
            .clone()
            .try_lock_owned()
            .map_err(|_| busy())?;
        if let Some(wait) = self.store.touched().blind() {
            let text = format!(
                "too many blocks were added of late to tell which are needed: try again in {wait:?}"
            );
            return Err(IpfsError::Refused(text));
        }
        // Every file must be counted before some are taken off the count.
        self.store.settled().await?;
        // From here on pins keep their blocks by themselves, so that only earlier ones are marked.
        let collecting = self.store.touched().collecting();
        let begun = Instant::now();
        let marks = self.mark().await?;
        tracing::info!(blocks = marks.len(), took = ?begun.elapsed(), "marked what the pins hold");
        let sweep = Sweep {
            marks: Arc::new(marks),
            portions: self.store.portions().await?,
            removed: Vec::new(),
            _collecting: collecting,
            _alone: alone,
        };
        let store = self.store.clone();
        let removed = stream::unfold(Some(sweep), move |sweep| {
            let store = store.clone();
            async move {
                let mut sweep = sweep?;
                loop {
                    if let Some(cid) = sweep.removed.pop() {
                        return Some((Ok(cid), Some(sweep)));
                    }
                    let Some(portion) = sweep.portions.pop() else {
                        let given_back = store.give_back().await;
                        return given_back.err().map(|error| (Err(error.into()), None));
                    };
                    match store.sweep(portion, sweep.marks.clone()).await {
                        Ok(removed) => sweep.removed = removed,
                        Err(error) => return Some((Err(error.into()), None)),
                    }
                }
            }
        });
        Ok(removed.boxed())
    }

    /// The blocks that the pins hold.
    async fn mark(&self) -> Result<HashSet<Key>, IpfsError> {
        let mut marks = Marks::default();
        let mut from = None;
        loop {
            let page = self.pins.page(from, PAGE);
            let Some((last, _)) = page.last() else {
                return Ok(marks.blocks);
            };
            from = Some(*last);
            for (root, reach) in page {
                match reach {
                    Reach::Root => marks.blocks.extend(key_of(&root)),
                    Reach::Links => {
                        marks.blocks.extend(key_of(&root));
                        let links = self.children(root).await;
                        let links = links.map_err(|why| not_whole(&root, &why))?;
                        marks.blocks.extend(links.iter().filter_map(key_of));
                    }
                    Reach::All => self.mark_dag(root, &mut marks).await?,
                }
            }
        }
    }

    /// A DAG; what is marked already was followed already.
    async fn mark_dag(&self, root: Cid, marks: &mut Marks) -> Result<(), IpfsError> {
        let refused = |text: String| IpfsError::Refused(text);
        let mut pending = vec![root];
        let mut reading = FuturesUnordered::new();
        loop {
            while reading.len() < READS
                && let Some(cid) = pending.pop()
            {
                if marks.mark(&cid) {
                    reading.push(self.children(cid));
                }
                if marks.blocks.len() > GC_MARKS_MAX {
                    return Err(refused(format!(
                        "more than {GC_MARKS_MAX} blocks are pinned"
                    )));
                }
            }
            let Some(children) = reading.next().await else {
                return Ok(());
            };
            let children = children.map_err(|why| not_whole(&root, &why))?;
            if pending.len() + children.len() > DAG_PENDING_MAX {
                return Err(refused(format!("the DAG of the pin {root} is too wide")));
            }
            pending.extend(children);
        }
    }

    /// What a block links to, from the disk alone.
    pub(super) async fn children(&self, cid: Cid) -> Result<Vec<Cid>, String> {
        let block = self.store.get(&cid).await.map_err(|e| e.to_string())?;
        let block = block.ok_or_else(|| format!("block {cid} is missing"))?;
        match links(&cid, &block) {
            Ok(children) => Ok(children),
            // Nobody could have pinned more of it than this block.
            Err(LinksError::Codec(_)) => Ok(vec![]),
            Err(error) => Err(format!("{cid}: {error}")),
        }
    }
}

fn not_whole(root: &Cid, why: &str) -> IpfsError {
    IpfsError::Refused(format!(
        "no garbage can be told while the pin {root} is not whole: {why}; recover the pin or unpin \
         it, then try again"
    ))
}

/// Whether so many bytes are more than a share of the maximum.
fn above(used: u64, max: u64, percent: u64) -> bool {
    u128::from(used) * 100 > u128::from(max) * u128::from(percent)
}

/// Collects whenever the store is nearly full, until it no longer is.
pub(super) async fn tend(node: Weak<Embedded>) {
    loop {
        let Some(grown) = node.upgrade().map(|node| node.store.clone()) else {
            return;
        };
        grown.grown().await;
        drop(grown);
        let Some(node) = node.upgrade() else { return };
        match node.collect_if_crowded().await {
            Ok(None) => continue,
            Ok(Some(blocks)) => {
                tracing::info!(blocks, "the IPFS store was nearly full: collected garbage");
            }
            Err(error) => tracing::warn!(%error, "the IPFS store is nearly full"),
        }
        drop(node);
        tokio::time::sleep(PAUSE).await;
    }
}

impl Embedded {
    /// Blocks removed; None where there was no need.
    async fn collect_if_crowded(&self) -> Result<Option<u64>, IpfsError> {
        let max = self.store.max();
        let mut removed = 0;
        if !above(self.store.used().await?, max, HIGH) {
            return Ok(None);
        }
        let mut garbage = self.collect().await?;
        while above(self.store.used().await?, max, LOW)
            && let Some(block) = garbage.next().await
        {
            block?;
            removed += 1;
        }
        Ok(Some(removed))
    }
}

#[cfg(test)]
mod tests;
