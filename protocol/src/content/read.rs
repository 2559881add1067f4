//! The bytes of a file from its blocks, in order, without holding more than the path to the current one.
//!
//! [`FileRead::wanted`] names the block to read next (and the ones after it, so that they can be
//! fetched meanwhile), [`FileRead::supply`] takes it and gives the bytes it holds.

use bytes::{Buf, Bytes};

use super::{
    DAG_PB, RAW,
    dag_pb::{DagPbError, Node},
    unixfs::{Kind, UnixFs, UnixFsError},
};
use crate::{id::Cid, limits::FILE_DEPTH_MAX};

/// Why something cannot be read as a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Kubo's words.
    #[error("this dag node is a directory")]
    Directory,
    /// Kubo's words.
    #[error("this dag node is a symlink")]
    Symlink,
    /// Neither raw nor UnixFS.
    #[error("{0} is not a UnixFS file")]
    NotAFile(Cid),
    /// A tree nobody would build.
    #[error("the file is more than {FILE_DEPTH_MAX} levels deep")]
    TooDeep,
    /// A broken block.
    #[error(transparent)]
    DagPb(#[from] DagPbError),
    /// A broken block.
    #[error(transparent)]
    UnixFs(#[from] UnixFsError),
}

/// A file being read.
#[derive(Debug)]
pub struct FileRead {
    /// Links still to follow, one list per level, each reversed.
    stack: Vec<Vec<Cid>>,
    /// Bytes to pass over before the first one asked for.
    skip: u64,
    /// Bytes still asked for.
    left: u64,
}

impl FileRead {
    /// Starts at the root of a file.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self::range(root, 0, u64::MAX)
    }

    /// Starts at the root of a file of which only `length` bytes from `offset` on are wanted. What
    /// lies before is passed over by the sizes that inner nodes state, without being read.
    #[must_use]
    pub fn range(root: Cid, offset: u64, length: u64) -> Self {
        Self {
            stack: vec![vec![root]],
            skip: offset,
            left: length,
        }
    }

    /// The block that comes next; None at the end of the file.
    #[must_use]
    pub fn wanted(&self) -> Option<Cid> {
        if self.left == 0 {
            return None;
        }
        self.stack
            .iter()
            .rev()
            .find_map(|level| level.last())
            .copied()
    }

    /// Up to `n` blocks that come after it on the same level.
    pub fn ahead(&self, n: usize) -> impl Iterator<Item = Cid> + '_ {
        let level = self.stack.iter().rev().find(|level| !level.is_empty());
        level
            .into_iter()
            .flat_map(move |l| l.iter().rev().skip(1).take(n).copied())
    }

    /// Takes the block that was wanted; gives the bytes of the file that stand in it.
    pub fn supply(&mut self, block: Bytes) -> Result<Bytes, ReadError> {
        while self.stack.last().is_some_and(Vec::is_empty) {
            self.stack.pop();
        }
        let Some(cid) = self.stack.last_mut().and_then(Vec::pop) else {
            return Ok(Bytes::new());
        };
        match cid.0.codec() {
            RAW => return Ok(self.part(block)),
            DAG_PB => {}
            _ => return Err(ReadError::NotAFile(cid)),
        }
        let node = Node::decode(&block)?;
        let fs = UnixFs::decode(node.data.as_deref().ok_or(UnixFsError::Missing)?)?;
        match fs.kind {
            Kind::File | Kind::Raw => {}
            Kind::Directory | Kind::HamtShard => return Err(ReadError::Directory),
            Kind::Symlink => return Err(ReadError::Symlink),
            Kind::Metadata => return Err(ReadError::NotAFile(cid)),
        }
        let held = self.part(fs.data.unwrap_or_default().into());
        let mut links = node.links.iter().map(|l| l.cid);
        // Sizes that do not fit the links are of no use; the reading is right without them.
        if fs.block_sizes.len() == node.links.len() {
            let passed = fs.block_sizes.iter().take_while(|size| {
                let pass = **size <= self.skip && self.skip > 0;
                self.skip -= if pass { **size } else { 0 };
                pass
            });
            let passed = passed.count();
            // `nth` counts from 0.
            if passed > 0 {
                links.nth(passed - 1);
            }
        }
        if links.len() > 0 {
            if self.stack.len() >= FILE_DEPTH_MAX {
                return Err(ReadError::TooDeep);
            }
            self.stack.push(links.rev().collect());
        }
        Ok(held)
    }

    /// What is asked for of these bytes, which are the next of the file.
    fn part(&mut self, mut bytes: Bytes) -> Bytes {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        bytes.advance(skipped as usize);
        let taken = self.left.min(bytes.len() as u64);
        // Without a bound there is nothing to count.
        if self.left != u64::MAX {
            self.left -= taken;
        }
        bytes.truncate(taken as usize);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::content::{
        dag_pb::Link,
        import::FileImport,
        options::{ChunkerSpec, ImportOptions, Layout},
    };

    fn read(mut file: FileRead, blocks: &BTreeMap<Cid, Bytes>) -> Result<Vec<u8>, ReadError> {
        let mut out = vec![];
        while let Some(cid) = file.wanted() {
            out.extend(file.supply(blocks[&cid].clone())?);
        }
        Ok(out)
    }

    proptest! {
        #[test]
        fn what_was_imported_is_read_back(
            data in proptest::collection::vec(any::<u8>(), 0..3000),
            size in 1usize..60,
            file_links_max in 2usize..6,
            raw_leaves in any::<bool>(),
            trickle in any::<bool>(),
            (offset, length) in (0usize..4000, 0usize..4000),
        ) {
            let options = ImportOptions {
                chunker: ChunkerSpec::Size(size),
                layout: if trickle { Layout::Trickle } else { Layout::Balanced },
                file_links_max,
                raw_leaves,
                ..ImportOptions::default()
            };
            let (mut import, mut out) = (FileImport::new(&options).unwrap(), vec![]);
            import.write(Bytes::from(data.clone()), &mut out);
            let root = import.finish(&mut out);
            prop_assert_eq!(root.file_size, data.len() as u64);
            prop_assert_eq!(out.last().unwrap().cid, root.cid);
            let blocks = out.into_iter().map(|b| (b.cid, b.data)).collect();
            prop_assert_eq!(read(FileRead::new(root.cid), &blocks), Ok(data.clone()));
            let end = offset.saturating_add(length).min(data.len());
            let part = data.get(offset.min(end)..end).unwrap_or_default().to_vec();
            let range = FileRead::range(root.cid, offset as u64, length as u64);
            prop_assert_eq!(read(range, &blocks), Ok(part));
        }
    }

    #[test]
    fn folders_and_endless_depth_are_refused() {
        let naming = ImportOptions::default().naming;
        let folder = Bytes::from_static(&[0x0a, 2, 8, 1]);
        let cid = naming.name(DAG_PB, &folder);
        assert_eq!(FileRead::new(cid).supply(folder), Err(ReadError::Directory));

        let mut node = Bytes::from_static(&[0x0a, 4, 8, 2, 0x18, 0]);
        let mut blocks = BTreeMap::new();
        for _ in 0..=FILE_DEPTH_MAX {
            let cid = naming.name(DAG_PB, &node);
            blocks.insert(cid, node);
            let link = Link {
                cid,
                name: vec![],
                dag_size: 0,
            };
            let data = UnixFs::new(Kind::File).encode();
            node = Node {
                links: vec![link],
                data: Some(data),
            }
            .encode()
            .into();
        }
        let root = naming.name(DAG_PB, &node);
        blocks.insert(root, node);
        assert_eq!(read(FileRead::new(root), &blocks), Err(ReadError::TooDeep));
    }

    #[test]
    fn a_range_reads_no_block_it_does_not_need() {
        let options = ImportOptions {
            chunker: ChunkerSpec::Size(10),
            raw_leaves: true,
            file_links_max: 10,
            ..ImportOptions::default()
        };
        let (mut import, mut out) = (FileImport::new(&options).unwrap(), vec![]);
        import.write(vec![7; 10_000].into(), &mut out);
        let root = import.finish(&mut out);
        let blocks: BTreeMap<_, _> = out.into_iter().map(|b| (b.cid, b.data)).collect();
        let (mut file, mut supplied) = (FileRead::range(root.cid, 9_990, 10), 0);
        while let Some(cid) = file.wanted() {
            file.supply(blocks[&cid].clone()).unwrap();
            supplied += 1;
        }
        // One block per level of 1000 leaves, ten to a node.
        assert_eq!(supplied, 4);
    }

    #[test]
    fn the_blocks_ahead_are_named_in_order() {
        let options = ImportOptions {
            chunker: ChunkerSpec::Size(1),
            raw_leaves: true,
            ..ImportOptions::default()
        };
        let (mut import, mut out) = (FileImport::new(&options).unwrap(), vec![]);
        import.write(Bytes::from_static(b"abcd"), &mut out);
        let root = import.finish(&mut out);
        let mut file = FileRead::new(root.cid);
        file.supply(out[4].data.clone()).unwrap();
        assert_eq!(file.wanted(), Some(out[0].cid));
        assert_eq!(file.ahead(2).collect::<Vec<_>>(), [out[1].cid, out[2].cid]);
    }
}
