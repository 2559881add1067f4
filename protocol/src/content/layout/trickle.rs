//! The trickle layout: the start of the file close to the root, what follows ever deeper.
//!
//! A node is filled with leaves first; then come four subtrees of depth 1, four of depth 2, and so
//! on, up to the depth the node itself may have. The root has no such bound. Kubo's `boxo` is the
//! source of the four and of the kind of the leaves.

use bytes::Bytes;

use super::node::{leaf, parent};
use crate::content::{
    Block, Root,
    options::ImportOptions,
    unixfs::{Attributes, Kind},
};

/// Subtrees of the same depth below one node.
const REPEATS: usize = 4;

/// The machine.
#[derive(Debug)]
pub(super) struct Trickle {
    options: ImportOptions,
    /// The nodes that are still open, from the root down.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    children: Vec<Root>,
    /// Subtrees in it are less deep than this.
    depth_max: usize,
    /// Depth of the next subtree, and how many of that depth there are.
    depth: usize,
    repeats: usize,
}

impl Open {
    fn new(depth_max: usize) -> Self {
        Self {
            children: vec![],
            depth_max,
            depth: 1,
            repeats: 0,
        }
    }

    /// The next subtree, if there is room for one.
    fn subtree(&mut self) -> Option<Self> {
        if self.depth >= self.depth_max {
            return None;
        }
        let new = Self::new(self.depth);
        self.repeats += 1;
        if self.repeats == REPEATS {
            self.repeats = 0;
            self.depth += 1;
        }
        Some(new)
    }
}

impl Trickle {
    /// A tree without leaves. The options were checked.
    pub(super) fn new(options: ImportOptions) -> Self {
        Self {
            options,
            open: vec![Open::new(usize::MAX)],
        }
    }

    /// Adds a leaf; finished blocks go to `out`.
    pub(super) fn push(&mut self, chunk: Bytes, out: &mut Vec<Block>) {
        let none = Attributes::default();
        let leaf = leaf(&self.options, Kind::Raw, chunk, none, out);
        while let Some(node) = self.open.last_mut() {
            // Leaves come before subtrees, so a node with a subtree has all its leaves.
            if node.children.len() < self.options.file_links_max {
                node.children.push(leaf);
                return;
            }
            match node.subtree() {
                Some(new) => self.open.push(new),
                None => self.close(out),
            }
        }
    }

    /// Completes the tree. A file without bytes is a node without children.
    pub(super) fn finish(mut self, attributes: Attributes, out: &mut Vec<Block>) -> Root {
        while self.open.len() > 1 {
            self.close(out);
        }
        let root = self.open.pop().map(|root| root.children);
        parent(&self.options, &root.unwrap_or_default(), attributes, out)
    }

    /// Makes a block of the lowest open node. The root is never closed here: it has always room.
    fn close(&mut self, out: &mut Vec<Block>) {
        let Some(node) = self.open.pop() else { return };
        let node = parent(&self.options, &node.children, Attributes::default(), out);
        if let Some(above) = self.open.last_mut() {
            above.children.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{dag_pb::Node, options::Layout};
    use std::collections::BTreeMap;

    /// Depth of the leaves, in their order.
    fn depths(leaves: usize) -> Vec<usize> {
        let options = ImportOptions {
            layout: Layout::Trickle,
            raw_leaves: true,
            file_links_max: 2,
            ..ImportOptions::default()
        };
        let (mut tree, mut out) = (Trickle::new(options), vec![]);
        for n in 0..leaves {
            tree.push(n.to_be_bytes().to_vec().into(), &mut out);
        }
        let root = tree.finish(Attributes::default(), &mut out);
        let blocks: BTreeMap<_, _> = out.into_iter().map(|b| (b.cid, b.data)).collect();
        let (mut stack, mut found) = (vec![(root.cid, 0)], vec![]);
        while let Some((cid, depth)) = stack.pop() {
            if cid.0.codec() == crate::content::RAW {
                found.push(depth);
                continue;
            }
            let node = Node::decode(&blocks[&cid]).unwrap();
            let links = node.links.iter().rev();
            stack.extend(links.map(|link| (link.cid, depth + 1)));
        }
        found
    }

    #[test]
    fn subtrees_come_four_of_each_depth() {
        let mut expected = vec![1, 1];
        // Depth 1: leaves alone.
        expected.extend([2; 8]);
        // Depth 2: leaves and four subtrees of depth 1, four times over.
        for _ in 0..4 {
            expected.extend([2, 2]);
            expected.extend([3; 8]);
        }
        expected.extend([2, 2, 3]);
        assert_eq!(depths(expected.len()), expected);
        assert_eq!(depths(0), [0usize; 0]);
    }
}
