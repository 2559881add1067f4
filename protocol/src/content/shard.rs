//! A node of a sharded folder, read back. How it is made and what it looks like stands in
//! [`super::hamt`].

use super::{
    dag_pb::Link,
    hamt::{MURMUR3, digits},
    path::PathError,
    unixfs::UnixFs,
};
use crate::{id::Cid, limits::HAMT_FANOUT_MAX};

/// What must be known of a node to read its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// Places in the node.
    pub(super) fanout: usize,
}

impl Shard {
    /// Checks what the node says of itself.
    pub(super) fn read(cid: &Cid, fs: &UnixFs) -> Result<Self, PathError> {
        let bad = |why| PathError::Shard { cid: *cid, why };
        if fs.hash_type != Some(MURMUR3) {
            return Err(bad("only murmur3 supported as hash function"));
        }
        let fanout = fs.fanout.and_then(|n| usize::try_from(n).ok());
        let fanout = fanout.filter(|n| n.is_power_of_two() && (8..=HAMT_FANOUT_MAX).contains(n));
        let fanout = fanout.ok_or(bad("its width is not a power of two from 8 to 1024"))?;
        Ok(Self { fanout })
    }

    /// The name that a link carries; empty where it leads to another node.
    pub(super) fn name<'a>(&self, cid: &Cid, link: &'a Link) -> Result<&'a [u8], PathError> {
        link.name
            .get(digits(self.fanout)..)
            .ok_or(PathError::Shard {
                cid: *cid,
                why: "the name of a link is too short",
            })
    }

    /// The link at a place that is the entry `name`, or leads to the node where it would be.
    pub(super) fn find<'a>(
        &self,
        links: &'a [Link],
        place: usize,
        name: &[u8],
    ) -> Option<&'a Link> {
        let width = digits(self.fanout);
        let prefix = format!("{place:0width$X}");
        links.iter().find(|link| {
            let rest = link.name.strip_prefix(prefix.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest == name)
        })
    }
}
