//! The tree over the chunks of a file, whichever shape was asked for.

use bytes::Bytes;

use super::{
    Block, Root,
    balanced::Balanced,
    options::{ImportOptions, Layout, OptionsError},
};

/// A tree under construction.
#[derive(Debug)]
pub enum FileTree {
    /// All leaves at the same depth.
    Balanced(Balanced),
}

impl FileTree {
    /// A tree without leaves.
    pub fn new(options: ImportOptions) -> Result<Self, OptionsError> {
        options.check()?;
        match options.layout {
            Layout::Balanced => Ok(Self::Balanced(Balanced::new(options))),
            Layout::Trickle => Err(OptionsError::Unsupported("layout trickle")),
        }
    }

    /// Adds the next chunk; finished blocks go to `out`.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Block>) {
        match self {
            Self::Balanced(tree) => tree.push(chunk, out),
        }
    }

    /// Completes the tree.
    pub fn finish(self, out: &mut Vec<Block>) -> Root {
        match self {
            Self::Balanced(tree) => tree.finish(out),
        }
    }
}
