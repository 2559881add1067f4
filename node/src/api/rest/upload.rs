//! One upload: files and folders on their way to blocks.

use ipfs_cluster_protocol::limits;
use std::{mem, time::Duration};

use bytes::Bytes;
use ipfs_cluster_protocol::{
    api::add::{AddParams, AddedOutput},
    content::{
        Block, Root,
        car::CarError,
        directory::symlink,
        hash::VerifyError,
        import::FileImport,
        options::{ImportOptions, OptionsError},
        tree::{Tree, TreeError},
        unixfs::Attributes,
    },
};

use super::{
    add::Sink,
    batch::BATCH_BYTES,
    multipart::{MultipartError, PartHead},
};
use crate::{
    api::backend::{AddSession, AddTo, Commit},
    cluster::ClusterError,
};

/// Between two progress lines.
const PROGRESS_BYTES: u64 = 256 * 1024;

/// Why an upload failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Car(#[from] CarError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("cannot wrap a CAR file upload")]
    CarWrap,
    #[error("expected CAR file is not of type file")]
    CarKind,
    #[error("only CAR files with a single root are supported")]
    CarRoots,
    #[error(
        "nocopy is not possible: the blocks are copied to the IPFS nodes of other peers, which do \
         not have the file. Add without it; or run `ipfs add --nocopy` beside the file, and pin \
         the CID with that node as its origin"
    )]
    NoCopy,
    #[error(
        "the target of a symlink is longer than {} bytes",
        limits::UPLOAD_TARGET_BYTES_MAX
    )]
    Target,
    #[error("more than {} parts", limits::UPLOAD_PARTS_MAX)]
    TooManyParts,
    #[error(
        "a block is larger than {} bytes, or all are too large",
        limits::BLOCK_BYTES_MAX
    )]
    BlockTooLarge,
    #[error("more than {0} results; use stream-channels=true")]
    TooManyResults(usize),
    #[error("the client sent nothing for {0:?}")]
    Stalled(Duration),
    #[error("the upload broke off: {0}")]
    Body(String),
    #[error("a result has no JSON form: {0}")]
    Print(String),
    #[error("the client is gone")]
    Gone,
}

/// The part that is being read.
enum Open {
    File(String, FileImport),
    Folder(String, Attributes),
    Symlink(String, Vec<u8>, Attributes),
}

/// An upload under way.
pub(crate) struct Upload {
    params: AddParams,
    import: ImportOptions,
    session: Box<dyn AddSession>,
    tree: Tree,
    /// Whether anything is in a folder, or shall be.
    has_folders: bool,
    open: Option<Open>,
    /// Blocks that wait to be sent.
    blocks: Vec<Block>,
    blocks_bytes: usize,
    /// Bytes of files read so far, and at the last progress line.
    read: u64,
    told: u64,
    parts: usize,
    /// The entry at the top that came last: what is pinned.
    last: Option<(String, Option<Root>)>,
}

/// How content is imported, if that is possible.
fn import_options(params: &AddParams) -> Result<ImportOptions, AddError> {
    if params.nocopy {
        return Err(AddError::NoCopy);
    }
    Ok(params.import()?)
}

impl Upload {
    /// Checks the parameters and decides who gets the blocks.
    pub(crate) async fn begin(
        to: &impl AddTo,
        params: AddParams,
        bytes: u64,
    ) -> Result<Self, AddError> {
        let import = import_options(&params)?;
        let session = to.add_session(&params, bytes).await?;
        let wrap = params.wrap;
        Ok(Self {
            params,
            import,
            session,
            tree: Tree::default(),
            has_folders: wrap,
            open: None,
            blocks: Vec::new(),
            blocks_bytes: 0,
            read: 0,
            told: 0,
            parts: 0,
            last: None,
        })
    }

    /// A part begins.
    pub(crate) fn open(&mut self, head: PartHead) -> Result<(), AddError> {
        self.parts += 1;
        if self.parts > limits::UPLOAD_PARTS_MAX {
            return Err(AddError::TooManyParts);
        }
        let attributes = self.params.tuning.attributes(head.stated);
        self.open = Some(match head.media_type.as_str() {
            "application/x-directory" => Open::Folder(head.path, attributes),
            "application/symlink" => Open::Symlink(head.path, Vec::new(), attributes),
            _ => {
                let import = FileImport::new(&self.import)?;
                Open::File(head.path, import.with_attributes(attributes))
            }
        });
        Ok(())
    }

    /// Bytes of the part.
    pub(crate) async fn data(
        &mut self,
        bytes: Bytes,
        sink: &mut impl Sink,
    ) -> Result<(), AddError> {
        match &mut self.open {
            Some(Open::File(_, import)) => {
                self.read += bytes.len() as u64;
                let from = self.blocks.len();
                import.write(bytes, &mut self.blocks);
                self.count_blocks(from);
                self.progress(sink, PROGRESS_BYTES).await?;
                self.send(BATCH_BYTES).await
            }
            Some(Open::Symlink(_, target, _)) => {
                if target.len() + bytes.len() > limits::UPLOAD_TARGET_BYTES_MAX {
                    return Err(AddError::Target);
                }
                target.extend_from_slice(&bytes);
                Ok(())
            }
            Some(Open::Folder(..)) | None => Ok(()),
        }
    }

    /// The part is complete.
    pub(crate) async fn close(&mut self, sink: &mut impl Sink) -> Result<(), AddError> {
        let from = self.blocks.len();
        let (path, root) = match self.open.take() {
            None => return Ok(()),
            Some(Open::Folder(path, attributes)) => {
                if !path.is_empty() {
                    self.tree.insert_folder(&path, attributes)?;
                    self.has_folders = true;
                    self.last = Some((top(&path), None));
                }
                return Ok(());
            }
            Some(Open::File(path, import)) => (path, import.finish(&mut self.blocks)),
            Some(Open::Symlink(path, target, attributes)) => {
                let naming = &self.import.naming;
                let root = symlink(&target, naming, attributes, &mut self.blocks);
                (path, root)
            }
        };
        self.count_blocks(from);
        self.progress(sink, 1).await?;
        // Shards that the file fills are told of before it.
        let at_least = if self.params.shard { 1 } else { BATCH_BYTES };
        self.send(at_least).await?;
        tell_lines(&mut *self.session, sink).await?;
        // In a folder everything has a name; a nameless file is called by its CID.
        let name = if path.is_empty() && self.params.wrap {
            root.cid.to_string()
        } else {
            path.clone()
        };
        let in_folder = name.contains('/');
        self.last = Some((top(&name), (!in_folder).then_some(root)));
        if in_folder || self.params.wrap {
            self.has_folders = true;
            self.tree.insert(&name, root)?;
        }
        self.tell(sink, name, root).await
    }

    /// All parts have come: makes the folders and pins the root.
    pub(crate) async fn finish(mut self, sink: &mut impl Sink) -> Result<Option<Commit>, AddError> {
        let Some((name, root)) = self.last.take() else {
            return Err(MultipartError::Truncated.into());
        };
        let root = if self.has_folders {
            self.folders(name, root, sink).await?
        } else {
            root
        };
        self.send(1).await?;
        let root = root.ok_or(MultipartError::Truncated)?;
        self.session.seal().await?;
        tell_lines(&mut *self.session, sink).await?;
        let done = self.session.finish(root.cid, root.dag_size).await?;
        Ok(done.map(|(_, commit)| commit))
    }

    /// Makes the folders; the answer is what is pinned, which is told last, because clients take
    /// the last line for the root.
    async fn folders(
        &mut self,
        last_name: String,
        last_root: Option<Root>,
        sink: &mut impl Sink,
    ) -> Result<Option<Root>, AddError> {
        let from = self.blocks.len();
        let mut tree = mem::take(&mut self.tree);
        if self.params.wrap {
            tree.wrap(self.params.tuning.attributes(Attributes::default()));
        }
        let mut folders = tree.finish(&self.import, &mut self.blocks)?;
        self.count_blocks(from);
        let pinned = if self.params.wrap {
            folders.pop()
        } else {
            let at = folders.iter().position(|f| f.path == last_name);
            at.map(|at| folders.remove(at))
        };
        for folder in folders {
            self.tell(sink, folder.path, folder.root).await?;
        }
        match pinned {
            Some(folder) => {
                let root = folder.root;
                self.tell(sink, folder.path, root).await?;
                Ok(Some(root))
            }
            None => Ok(last_root),
        }
    }

    fn count_blocks(&mut self, from: usize) {
        let new = self.blocks.get(from..).unwrap_or_default();
        self.blocks_bytes += new.iter().map(|b| b.data.len()).sum::<usize>();
    }

    /// Sends the waiting blocks if they are at least so many bytes.
    async fn send(&mut self, at_least: usize) -> Result<(), AddError> {
        if self.blocks.is_empty() || self.blocks_bytes < at_least {
            return Ok(());
        }
        self.blocks_bytes = 0;
        let blocks = mem::take(&mut self.blocks);
        Ok(self.session.put(blocks).await?)
    }

    /// Tells how many bytes were read, if `every` were since the last time.
    async fn progress(&mut self, sink: &mut impl Sink, every: u64) -> Result<(), AddError> {
        if !self.params.progress {
            return Ok(());
        }
        while self.read - self.told >= every {
            self.told += (self.read - self.told).min(PROGRESS_BYTES);
            let line = AddedOutput {
                bytes: self.told,
                ..AddedOutput::default()
            };
            sink.put(line).await?;
        }
        Ok(())
    }

    async fn tell(
        &mut self,
        sink: &mut impl Sink,
        name: String,
        root: Root,
    ) -> Result<(), AddError> {
        sink.put(AddedOutput {
            name,
            cid: Some(root.cid),
            bytes: 0,
            size: root.dag_size,
            allocations: self.session.allocations(),
        })
        .await
    }
}

/// Tells what became of shards.
pub(super) async fn tell_lines(
    session: &mut dyn AddSession,
    sink: &mut impl Sink,
) -> Result<(), AddError> {
    for line in session.lines() {
        sink.put(line).await?;
    }
    Ok(())
}

/// The first component of a path.
fn top(path: &str) -> String {
    path.split('/').next().unwrap_or_default().to_owned()
}
