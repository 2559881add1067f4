//! A file, from its bytes to its blocks.

use bytes::Bytes;

use super::{
    Block, Root,
    chunk::Chunker,
    layout::FileTree,
    options::{ImportOptions, OptionsError},
    unixfs::Attributes,
};

/// One file being imported. Holds one chunk and the open edge of the tree, whatever the file's size.
#[derive(Debug)]
pub struct FileImport {
    chunker: Chunker,
    tree: FileTree,
    attributes: Attributes,
}

impl FileImport {
    /// A file without bytes.
    pub fn new(options: &ImportOptions) -> Result<Self, OptionsError> {
        Ok(Self {
            chunker: Chunker::new(options.chunker)?,
            tree: FileTree::new(options.clone())?,
            attributes: Attributes::default(),
        })
    }

    /// The same with permissions and time, which its root will carry unless it is a raw leaf.
    #[must_use]
    pub fn with_attributes(self, attributes: Attributes) -> Self {
        Self { attributes, ..self }
    }

    /// Adds bytes; finished blocks go to `out`, children before parents.
    pub fn write(&mut self, mut bytes: Bytes, out: &mut Vec<Block>) {
        while let Some(chunk) = self.chunker.take(&mut bytes) {
            self.tree.push(chunk, out);
        }
    }

    /// Completes the file; the root is the last block handed out.
    pub fn finish(mut self, out: &mut Vec<Block>) -> Root {
        if let Some(chunk) = self.chunker.finish() {
            self.tree.push(chunk, out);
        }
        self.tree.finish(self.attributes, out)
    }
}
