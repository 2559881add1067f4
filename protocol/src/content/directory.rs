//! A folder as one dag-pb node, and symlinks.

use std::collections::BTreeMap;

use super::{
    Block, DAG_PB, Root,
    dag_pb::{Link, Node},
    options::{Naming, OptionsError},
    unixfs::{Kind, UnixFs},
};
use crate::limits::DIRECTORY_BYTES_MAX;

/// A folder under construction, its entries in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    entries: BTreeMap<Vec<u8>, Root>,
    /// Bytes of names and CIDs: what decides whether a folder must be sharded.
    estimate: usize,
}

impl Directory {
    /// Adds an entry, or replaces the one of that name.
    pub fn insert(&mut self, name: Vec<u8>, root: Root) {
        let size = |name: &[u8], r: &Root| name.len() + r.cid.0.encoded_len();
        self.estimate += size(&name, &root);
        if let Some(old) = self.entries.get(&name) {
            self.estimate -= size(&name, old);
        }
        self.entries.insert(name, root);
    }

    /// The folder's block.
    pub fn build(&self, naming: &Naming, out: &mut Vec<Block>) -> Result<Root, OptionsError> {
        if self.estimate > DIRECTORY_BYTES_MAX {
            return Err(OptionsError::Unsupported(
                "a folder so large that it must be sharded (HAMT)",
            ));
        }
        let links = self.entries.iter().map(|(name, root)| Link {
            cid: root.cid,
            name: name.clone(),
            dag_size: root.dag_size,
        });
        let node = Node {
            links: links.collect(),
            data: Some(UnixFs::new(Kind::Directory).encode()),
        };
        let sizes = self.entries.values().map(|r| r.dag_size);
        let below = sizes.fold(0, u64::saturating_add);
        Ok(emit(naming, &node, below, out))
    }
}

/// A symbolic link.
pub fn symlink(target: &[u8], naming: &Naming, out: &mut Vec<Block>) -> Root {
    let mut fs = UnixFs::new(Kind::Symlink);
    fs.data = Some(target.to_vec());
    let node = Node {
        links: vec![],
        data: Some(fs.encode()),
    };
    emit(naming, &node, 0, out)
}

fn emit(naming: &Naming, node: &Node, below: u64, out: &mut Vec<Block>) -> Root {
    let data = node.encode();
    let cid = naming.name(DAG_PB, &data);
    let dag_size = below.saturating_add(data.len() as u64);
    if super::hash::inlined(&cid).is_none() {
        let data = data.into();
        out.push(Block { cid, data });
    }
    Root {
        cid,
        file_size: 0,
        dag_size,
    }
}
