//! What is in a folder, block by block: one block for a simple one, a trie for a sharded one.
//!
//! [`Listing::wanted`] names the block to read next, [`Listing::supply`] takes it and gives the
//! entries that stand in it. Memory is the links still to follow.

use super::{
    DAG_PB, RAW,
    dag_pb::{Link, Node},
    path::PathError,
    shard::Shard,
    unixfs::{Attributes, Kind, UnixFs, UnixFsError},
};
use crate::{
    id::Cid,
    limits::{HAMT_DEPTH_MAX, HAMT_NODES_MAX},
};

/// A folder being listed.
#[derive(Debug)]
pub struct Listing {
    /// Blocks still to read and their levels, the next one last.
    pending: Vec<(Cid, usize)>,
    /// Blocks read: a trie that links to itself must end.
    read: usize,
}

impl Listing {
    /// Starts at the root of a folder.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self {
            pending: vec![(root, 0)],
            read: 0,
        }
    }

    /// The block that comes next; None at the end of the folder.
    #[must_use]
    pub fn wanted(&self) -> Option<Cid> {
        self.pending.last().map(|(cid, _)| *cid)
    }

    /// Up to `n` blocks that come after it.
    pub fn ahead(&self, n: usize) -> impl Iterator<Item = Cid> + '_ {
        self.pending
            .iter()
            .rev()
            .skip(1)
            .take(n)
            .map(|(cid, _)| *cid)
    }

    /// Takes the block that was wanted; gives the entries in it. A file has its parts for entries,
    /// without names, as Kubo shows them.
    pub fn supply(&mut self, block: &[u8]) -> Result<Vec<Link>, PathError> {
        let Some((cid, level)) = self.pending.pop() else {
            return Ok(vec![]);
        };
        self.read += 1;
        if self.read > HAMT_NODES_MAX {
            return Err(PathError::TooLarge(cid));
        }
        if level == 0 && cid.0.codec() == RAW {
            return Ok(vec![]);
        }
        if cid.0.codec() != DAG_PB {
            return Err(PathError::NotAFolder(cid));
        }
        let node = Node::decode(block)?;
        let fs = UnixFs::decode(node.data.as_deref().ok_or(UnixFsError::Missing)?)?;
        match fs.kind {
            Kind::HamtShard => {}
            Kind::Directory | Kind::File | Kind::Raw if level == 0 => return Ok(node.links),
            Kind::Symlink | Kind::Metadata if level == 0 => return Ok(vec![]),
            _ => return Err(PathError::NotAFolder(cid)),
        }
        let shard = Shard::read(&cid, &fs)?;
        if level >= HAMT_DEPTH_MAX {
            return Err(PathError::TooDeep(cid));
        }
        let (mut entries, mut below) = (vec![], vec![]);
        for mut link in node.links {
            let name = shard.name(&cid, &link)?;
            if name.is_empty() {
                below.push((link.cid, level + 1));
            } else {
                link.name = name.to_vec();
                entries.push(link);
            }
        }
        if self.pending.len() + below.len() > HAMT_NODES_MAX {
            return Err(PathError::TooLarge(cid));
        }
        self.pending.extend(below.into_iter().rev());
        Ok(entries)
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// A folder of either form, a file or a symlink.
    pub kind: EntryKind,
    /// Bytes of a file; 0 for everything else.
    pub size: u64,
    /// Permissions and time, where kept.
    pub attributes: Attributes,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// Bytes.
    File,
    /// A folder, in one block or in many.
    Folder,
    /// A symbolic link and where it leads.
    Symlink(Vec<u8>),
}

/// What the root block of an entry says it is.
pub fn describe(cid: &Cid, block: &[u8]) -> Result<Description, PathError> {
    let file = |size, attributes| Description {
        kind: EntryKind::File,
        size,
        attributes,
    };
    match cid.0.codec() {
        RAW => return Ok(file(block.len() as u64, Attributes::default())),
        DAG_PB => {}
        _ => return Err(PathError::NotUnixFs(*cid)),
    }
    let node = Node::decode(block)?;
    let fs = UnixFs::decode(node.data.as_deref().ok_or(UnixFsError::Missing)?)?;
    let held = fs.data.as_ref().map_or(0, |d| d.len() as u64);
    let kind = match fs.kind {
        Kind::File | Kind::Raw => {
            return Ok(file(fs.file_size.unwrap_or(held), fs.attributes));
        }
        Kind::Directory | Kind::HamtShard => EntryKind::Folder,
        Kind::Symlink => EntryKind::Symlink(fs.data.unwrap_or_default()),
        Kind::Metadata => return Err(PathError::NotUnixFs(*cid)),
    };
    Ok(Description {
        kind,
        size: 0,
        attributes: fs.attributes,
    })
}

#[cfg(test)]
mod tests;
