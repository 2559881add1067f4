//! The balanced layout: every leaf at the same depth, nodes filled from the left.
//!
//! Built from the bottom as leaves arrive: a level holds at most one node's worth of children, and
//! becomes a child of the level above when one more comes. So memory is depth × width, and the first
//! chunk, which may be the whole file.

use bytes::Bytes;

use super::node::{leaf, parent};
use crate::content::{
    Block, Root,
    options::ImportOptions,
    unixfs::{Attributes, Kind},
};

/// The machine.
#[derive(Debug)]
pub(super) struct Balanced {
    options: ImportOptions,
    /// The first chunk until another one comes: alone, it is the root.
    first: Option<Bytes>,
    /// Children that wait for their parent, from the leaves up.
    levels: Vec<Vec<Root>>,
}

impl Balanced {
    /// A tree without leaves. The options were checked.
    pub(super) fn new(options: ImportOptions) -> Self {
        Self {
            options,
            first: None,
            levels: vec![],
        }
    }

    /// Adds a leaf; finished blocks go to `out`.
    pub(super) fn push(&mut self, chunk: Bytes, out: &mut Vec<Block>) {
        if self.levels.is_empty() && self.first.is_none() {
            self.first = Some(chunk);
            return;
        }
        if let Some(first) = self.first.take() {
            self.push_leaf(first, out);
        }
        self.push_leaf(chunk, out);
    }

    /// Completes the tree. A file without bytes has one empty leaf.
    pub(super) fn finish(mut self, attributes: Attributes, out: &mut Vec<Block>) -> Root {
        if self.levels.is_empty() {
            let only = self.first.take().unwrap_or_default();
            return leaf(&self.options, Kind::File, only, attributes, out);
        }
        let mut level = 0;
        // Two leaves at least came, so the lowest level is not empty, nor is any once what is left
        // below it has become its last child.
        loop {
            let children = std::mem::take(&mut self.levels[level]);
            if level + 1 == self.levels.len() {
                return parent(&self.options, &children, attributes, out);
            }
            let node = parent(&self.options, &children, Attributes::default(), out);
            self.push_at(level + 1, node, out);
            level += 1;
        }
    }

    fn push_leaf(&mut self, chunk: Bytes, out: &mut Vec<Block>) {
        let none = Attributes::default();
        let leaf = leaf(&self.options, Kind::File, chunk, none, out);
        self.push_at(0, leaf, out);
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
            let full = std::mem::take(&mut self.levels[level]);
            self.levels[level].push(child);
            child = parent(&self.options, &full, Attributes::default(), out);
            level += 1;
        }
    }
}
