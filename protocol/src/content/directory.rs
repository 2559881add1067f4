//! A folder under construction, and symlinks.

use std::collections::BTreeMap;

use super::{
    Block, DAG_PB, Root,
    dag_pb::{Link, Node},
    hamt,
    options::{ImportOptions, Naming, OptionsError},
    unixfs::{Attributes, Kind, UnixFs},
};

/// A folder under construction, its entries in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    entries: BTreeMap<Vec<u8>, Root>,
    /// Bytes of names and CIDs: what decides whether a folder must be sharded.
    estimate: usize,
    attributes: Attributes,
}

impl Directory {
    /// A folder without entries.
    #[must_use]
    pub fn new(attributes: Attributes) -> Self {
        Self {
            attributes,
            ..Self::default()
        }
    }

    /// Adds an entry, or replaces the one of that name.
    pub fn insert(&mut self, name: Vec<u8>, root: Root) {
        let size = |name: &[u8], r: &Root| name.len() + r.cid.0.encoded_len();
        self.estimate += size(&name, &root);
        if let Some(old) = self.entries.get(&name) {
            self.estimate -= size(&name, old);
        }
        self.entries.insert(name, root);
    }

    /// The folder's blocks, its root last: one, or a trie where that would be too large. The
    /// options were checked.
    pub fn build(
        &self,
        options: &ImportOptions,
        out: &mut Vec<Block>,
    ) -> Result<Root, OptionsError> {
        let folders = &options.folders;
        let too_many = folders.links_max.is_some_and(|m| self.entries.len() > m);
        let entries = self.entries.iter();
        if too_many || self.estimate > folders.bytes_max {
            let entries = entries.map(|(name, root)| (name.as_slice(), *root));
            let (naming, fanout) = (&options.naming, folders.fanout);
            return hamt::build(entries, (naming, fanout), self.attributes, out);
        }
        let links = entries.map(|(name, root)| Link {
            cid: root.cid,
            name: name.clone(),
            dag_size: root.dag_size,
        });
        let mut fs = UnixFs::new(Kind::Directory);
        fs.attributes = self.attributes;
        let node = Node {
            links: links.collect(),
            data: Some(fs.encode()),
        };
        let sizes = self.entries.values().map(|r| r.dag_size);
        let below = sizes.fold(0, u64::saturating_add);
        Ok(emit(&options.naming, &node, below, out))
    }
}

/// A symbolic link. Only the time of one is kept: its permissions mean nothing.
pub fn symlink(
    target: &[u8],
    naming: &Naming,
    attributes: Attributes,
    out: &mut Vec<Block>,
) -> Root {
    let mut fs = UnixFs::new(Kind::Symlink);
    fs.data = Some(target.to_vec());
    fs.attributes.mtime = attributes.mtime;
    let node = Node {
        links: vec![],
        data: Some(fs.encode()),
    };
    emit(naming, &node, 0, out)
}

/// Names a node and hands it out, unless its name carries it.
pub(super) fn emit(naming: &Naming, node: &Node, below: u64, out: &mut Vec<Block>) -> Root {
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
