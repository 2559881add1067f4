//! The bytes of a file from its blocks, in order, without holding more than the path to the current one.
//!
//! [`FileRead::wanted`] names the block to read next (and the ones after it, so that they can be
//! fetched meanwhile), [`FileRead::supply`] takes it and gives the bytes it holds.

use bytes::Bytes;

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
}

impl FileRead {
    /// Starts at the root of a file.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self {
            stack: vec![vec![root]],
        }
    }

    /// The block that comes next; None at the end of the file.
    #[must_use]
    pub fn wanted(&self) -> Option<Cid> {
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
            RAW => return Ok(block),
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
        if !node.links.is_empty() {
            if self.stack.len() >= FILE_DEPTH_MAX {
                return Err(ReadError::TooDeep);
            }
            self.stack
                .push(node.links.iter().rev().map(|l| l.cid).collect());
        }
        Ok(fs.data.unwrap_or_default().into())
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
        options::{ChunkerSpec, ImportOptions},
    };

    fn read(root: Cid, blocks: &BTreeMap<Cid, Bytes>) -> Result<Vec<u8>, ReadError> {
        let (mut file, mut out) = (FileRead::new(root), vec![]);
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
        ) {
            let options = ImportOptions {
                chunker: ChunkerSpec::Size(size), file_links_max, raw_leaves, ..ImportOptions::default()
            };
            let (mut import, mut out) = (FileImport::new(&options).unwrap(), vec![]);
            import.write(Bytes::from(data.clone()), &mut out);
            let root = import.finish(&mut out);
            prop_assert_eq!(root.file_size, data.len() as u64);
            prop_assert_eq!(out.last().unwrap().cid, root.cid);
            let blocks = out.into_iter().map(|b| (b.cid, b.data)).collect();
            prop_assert_eq!(read(root.cid, &blocks), Ok(data));
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
        assert_eq!(read(root, &blocks), Err(ReadError::TooDeep));
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
