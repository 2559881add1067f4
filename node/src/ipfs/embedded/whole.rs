//! Is a pin whole? Its DAG is walked on this disk alone; nothing is fetched.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, future::ready, stream, stream::FuturesOrdered};
use ipfs_cluster_protocol::{
    id::Cid,
    limits::{BAD_BLOCKS_MAX, DAG_PENDING_MAX, DAG_SEEN_MAX},
};

use super::{Embedded, pins::Reach};
use crate::ipfs::{IpfsError, IpfsStream};

/// Blocks read at a time.
const READS: usize = 8;

/// A block that is missing or corrupt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBlock {
    /// Its name.
    pub cid: Cid,
    /// What is wrong.
    pub why: String,
}

/// A pin that was walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPin {
    /// Its root.
    pub root: Cid,
    /// What it lacks, at most [`BAD_BLOCKS_MAX`] of it; what is below that is not known.
    pub bad: Vec<BadBlock>,
}

impl Embedded {
    /// Walks every recursive pin.
    pub fn check_pins(self: &Arc<Self>) -> IpfsStream<CheckedPin> {
        let node = self.clone();
        let pins = self.pin_pages().flat_map(stream::iter);
        let recursive = pins.filter(|(_, reach)| ready(*reach != Reach::Root));
        let checked = recursive.then(move |(root, reach)| {
            let node = node.clone();
            async move { node.check_pin(root, reach).await }
        });
        checked.boxed()
    }

    /// Loses a block, as a damaged disk does.
    #[cfg(test)]
    pub(crate) fn lose(&self, cid: &Cid) {
        self.store.lose(cid);
    }

    async fn check_pin(&self, root: Cid, reach: Reach) -> Result<CheckedPin, IpfsError> {
        let (mut pending, mut seen) = (vec![root], BTreeSet::from([root]));
        let (mut reading, mut bad) = (FuturesOrdered::new(), vec![]);
        loop {
            while reading.len() < READS
                && let Some(cid) = pending.pop()
            {
                reading.push_back(async move { (cid, self.children(cid).await) });
            }
            let Some((cid, children)) = reading.next().await else {
                return Ok(CheckedPin { root, bad });
            };
            match children {
                Ok(_) if reach == Reach::Links && cid != root => {}
                // Of what is not remembered, some is read again: a DAG has an end all the same.
                Ok(children) => pending.extend(
                    children
                        .into_iter()
                        .filter(|cid| seen.len() >= DAG_SEEN_MAX || seen.insert(*cid)),
                ),
                Err(why) if bad.len() < BAD_BLOCKS_MAX => bad.push(BadBlock { cid, why }),
                Err(_) => return Ok(CheckedPin { root, bad }),
            }
            if pending.len() > DAG_PENDING_MAX {
                let text = format!("the DAG of the pin {root} is too wide");
                return Err(IpfsError::Refused(text));
            }
        }
    }
}
