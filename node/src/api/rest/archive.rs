//! An upload that is an archive: its blocks are stored as they are, its root is pinned.

use ipfs_cluster_protocol::{
    api::add::{AddParams, AddedOutput},
    content::{
        Block,
        car::{CarError, CarReader, Item},
        hash::verify,
        list::{EntryKind, describe},
    },
    id::Cid,
};

use super::{
    add::{Parts, Sink},
    batch::Batch,
    multipart::{Event, MultipartError},
    upload::{AddError, tell_lines},
};
use crate::api::backend::{AddSession, AddTo, Commit};

/// An archive on its way in.
struct Archive {
    session: Box<dyn AddSession>,
    reader: CarReader,
    root: Option<Cid>,
    /// Blocks that wait to be sent.
    waiting: Batch,
    /// Bytes of all blocks.
    bytes: u64,
    /// Bytes of the file that the root stands for; 0 for anything else.
    size: u64,
}

/// Reads the archive in the first part; other parts are none.
pub(super) async fn run(
    to: &impl AddTo,
    params: AddParams,
    parts: &mut Parts,
    sink: &mut impl Sink,
) -> Result<Option<Commit>, AddError> {
    if params.wrap {
        return Err(AddError::CarWrap);
    }
    if params.nocopy {
        return Err(AddError::NoCopy);
    }
    let Event::Part(head) = parts.next().await? else {
        return Err(MultipartError::Truncated.into());
    };
    if ["application/x-directory", "application/symlink"].contains(&head.media_type.as_str()) {
        return Err(AddError::CarKind);
    }
    let mut archive = Archive {
        session: to.add_session(&params, parts.bytes()).await?,
        reader: CarReader::default(),
        root: None,
        waiting: Batch::default(),
        bytes: 0,
        size: 0,
    };
    loop {
        match parts.next().await? {
            Event::Data(bytes) => archive.data(&bytes).await?,
            Event::PartEnd => break,
            Event::Part(_) | Event::End => return Err(MultipartError::Truncated.into()),
        }
    }
    // The rest of the upload is read, so that the client can send it.
    while parts.next().await? != Event::End {}
    archive.finish(head.path, sink).await
}

impl Archive {
    async fn data(&mut self, bytes: &[u8]) -> Result<(), AddError> {
        self.reader.push(bytes);
        while let Some(item) = self.reader.take()? {
            match item {
                Item::Roots(roots) => match roots[..] {
                    [root] => self.root = Some(root),
                    _ => return Err(AddError::CarRoots),
                },
                Item::Block(block) => self.block(block).await?,
            }
        }
        Ok(())
    }

    async fn block(&mut self, block: Block) -> Result<(), AddError> {
        verify(&block.cid, &block.data)?;
        self.bytes += block.data.len() as u64;
        if Some(block.cid) == self.root
            && let Ok(root) = describe(&block.cid, &block.data)
            && root.kind == EntryKind::File
        {
            self.size = root.size;
        }
        if let Some(blocks) = self.waiting.push(block) {
            self.session.put(blocks).await?;
        }
        Ok(())
    }

    async fn finish(
        mut self,
        name: String,
        sink: &mut impl Sink,
    ) -> Result<Option<Commit>, AddError> {
        std::mem::take(&mut self.reader).finish()?;
        let root = self.root.ok_or(CarError::Eof)?;
        let rest = self.waiting.take();
        if !rest.is_empty() {
            self.session.put(rest).await?;
        }
        let line = AddedOutput {
            name,
            cid: Some(root),
            bytes: self.bytes,
            size: self.size,
            allocations: self.session.allocations(),
        };
        tell_lines(&mut *self.session, sink).await?;
        sink.put(line).await?;
        self.session.seal().await?;
        tell_lines(&mut *self.session, sink).await?;
        let done = self.session.finish(root, self.bytes).await?;
        Ok(done.map(|(_, commit)| commit))
    }
}
