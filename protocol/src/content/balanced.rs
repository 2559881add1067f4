//! The balanced layout: every leaf at the same depth, nodes filled from the left.
//!
//! Built from the bottom as leaves arrive: a level holds at most one node's worth of children, and
//! becomes a child of the level above when one more comes. So memory is depth × width.

use super::{
    Block, DAG_PB, RAW, Root,
    dag_pb::{Link, Node},
    options::ImportOptions,
    unixfs::{Kind, UnixFs},
};
use bytes::Bytes;

/// The machine.
#[derive(Debug)]
pub struct Balanced {
    options: ImportOptions,
    /// Children that wait for their parent, from the leaves up.
    levels: Vec<Vec<Root>>,
}

impl Balanced {
    /// A tree without leaves. The options were checked.
    #[must_use]
    pub(super) fn new(options: ImportOptions) -> Self {
        Self {
            options,
            levels: vec![vec![]],
        }
    }

    /// Adds a leaf; finished blocks go to `out`.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Block>) {
        let leaf = leaf(&self.options, chunk, out);
        self.push_at(0, leaf, out);
    }

    /// Completes the tree. A file without bytes has one empty leaf.
    pub fn finish(mut self, out: &mut Vec<Block>) -> Root {
        if self.levels.iter().all(Vec::is_empty) {
            self.push(Bytes::new(), out);
        }
        let mut level = 0;
        loop {
            let top = level + 1 == self.levels.len();
            if let ([only], true) = (self.levels[level].as_slice(), top) {
                return *only;
            }
            if !self.levels[level].is_empty() {
                let parent = self.fold(level, out);
                self.push_at(level + 1, parent, out);
            }
            level += 1;
        }
    }

    fn push_at(&mut self, level: usize, child: Root, out: &mut Vec<Block>) {
        let (mut level, mut child) = (level, child);
        loop {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            if self.levels[level].len() < self.options.file_links_max {
                self.levels[level].push(child);
                return;
            }
            let parent = self.fold(level, out);
            self.levels[level].push(child);
            child = parent;
            level += 1;
        }
    }

    /// Makes one node of all that waits at a level.
    fn fold(&mut self, level: usize, out: &mut Vec<Block>) -> Root {
        let children = std::mem::take(&mut self.levels[level]);
        parent(&self.options, &children, out)
    }
}

/// A leaf of a file: plain bytes, or in an envelope.
fn leaf(options: &ImportOptions, chunk: Bytes, out: &mut Vec<Block>) -> Root {
    let file_size = chunk.len() as u64;
    if options.raw_leaves {
        return emit(options, RAW, chunk, (file_size, 0), out);
    }
    let mut fs = UnixFs::new(Kind::File);
    fs.file_size = Some(file_size);
    fs.data = (!chunk.is_empty()).then(|| chunk.to_vec());
    let node = Node {
        links: vec![],
        data: Some(fs.encode()),
    };
    emit(options, DAG_PB, node.encode().into(), (file_size, 0), out)
}

/// A node over children of a file.
fn parent(options: &ImportOptions, children: &[Root], out: &mut Vec<Block>) -> Root {
    let sum = |f: fn(&Root) -> u64| children.iter().map(f).fold(0, u64::saturating_add);
    let (file_size, below) = (sum(|c| c.file_size), sum(|c| c.dag_size));
    let mut fs = UnixFs::new(Kind::File);
    fs.file_size = Some(file_size);
    fs.block_sizes = children.iter().map(|c| c.file_size).collect();
    let links = children.iter().map(|child| Link {
        cid: child.cid,
        name: vec![],
        dag_size: child.dag_size,
    });
    let node = Node {
        links: links.collect(),
        data: Some(fs.encode()),
    };
    emit(
        options,
        DAG_PB,
        node.encode().into(),
        (file_size, below),
        out,
    )
}

/// Names a block and hands it out, unless its name carries it.
fn emit(
    options: &ImportOptions,
    codec: u64,
    data: Bytes,
    (file_size, below): (u64, u64),
    out: &mut Vec<Block>,
) -> Root {
    let cid = options.naming.name(codec, &data);
    let dag_size = below.saturating_add(data.len() as u64);
    if super::hash::inlined(&cid).is_none() {
        out.push(Block { cid, data });
    }
    Root {
        cid,
        file_size,
        dag_size,
    }
}
