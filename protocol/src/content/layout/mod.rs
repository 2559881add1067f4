//! The tree over the chunks of a file, whichever shape was asked for.

mod balanced;
mod node;
mod trickle;

use bytes::Bytes;

use super::{
    Block, Root,
    options::{ImportOptions, Layout, OptionsError},
    unixfs::Attributes,
};
use balanced::Balanced;
use trickle::Trickle;

/// A tree under construction.
#[derive(Debug)]
pub struct FileTree(Shape);

#[derive(Debug)]
enum Shape {
    Balanced(Balanced),
    Trickle(Trickle),
}

impl FileTree {
    /// A tree without leaves.
    pub fn new(options: ImportOptions) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self(match options.layout {
            Layout::Balanced => Shape::Balanced(Balanced::new(options)),
            Layout::Trickle => Shape::Trickle(Trickle::new(options)),
        }))
    }

    /// Adds the next chunk; finished blocks go to `out`.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Block>) {
        match &mut self.0 {
            Shape::Balanced(tree) => tree.push(chunk, out),
            Shape::Trickle(tree) => tree.push(chunk, out),
        }
    }

    /// Completes the tree; its root carries the attributes.
    pub fn finish(self, attributes: Attributes, out: &mut Vec<Block>) -> Root {
        match self.0 {
            Shape::Balanced(tree) => tree.finish(attributes, out),
            Shape::Trickle(tree) => tree.finish(attributes, out),
        }
    }
}
