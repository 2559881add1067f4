//! A file or a folder with all below it, as a tar archive.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ipfs_cluster_protocol::{
    api::content::{ContentEntry, ContentKind},
    limits::{DAG_PENDING_MAX, PATH_DEPTH_MAX},
};
use tar::{Builder, EntryType, Header};

use super::{IpfsError, IpfsNode, IpfsStream, read};

type Node = Arc<dyn IpfsNode>;

/// An archive is made of blocks of so many bytes, and ends with two of zeros.
const BLOCK: usize = 512;

struct Archive {
    node: Node,
    /// Entries to write and their paths within the archive, the next one last.
    pending: Vec<(String, ContentEntry)>,
    open: Option<OpenFile>,
    ended: bool,
}

/// A file that is being written.
struct OpenFile {
    pieces: IpfsStream<Bytes>,
    /// Bytes still to come.
    left: u64,
    /// Zeros after them.
    padding: usize,
}

/// The archive of what a path names. The first entry is called by the last name of the path.
pub(crate) async fn archive(node: &Node, path: &str) -> Result<IpfsStream<Bytes>, IpfsError> {
    let entry = read::stat(node, path).await?;
    let name = match (&entry.name, entry.cid) {
        (name, _) if !name.is_empty() => name.clone(),
        (_, Some(cid)) => cid.to_string(),
        (_, None) => String::new(),
    };
    let archive = Archive {
        node: node.clone(),
        pending: vec![(name, entry)],
        open: None,
        ended: false,
    };
    let pieces = stream::unfold(Some(archive), |archive| async move {
        let mut archive = archive?;
        match archive.next().await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(archive))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(pieces.boxed())
}

impl Archive {
    async fn next(&mut self) -> Result<Option<Bytes>, IpfsError> {
        if let Some(mut file) = self.open.take() {
            return self.file(file.pieces.try_next().await?, file);
        }
        let Some((path, entry)) = self.pending.pop() else {
            let end = (!self.ended).then(|| Bytes::from_static(&[0; 2 * BLOCK]));
            self.ended = true;
            return Ok(end);
        };
        let head = head(&path, &entry).map_err(|e| IpfsError::Refused(format!("{path}: {e}")))?;
        let Some(cid) = entry.cid else {
            return Ok(Some(head));
        };
        match entry.kind {
            ContentKind::Symlink => {}
            ContentKind::File => {
                let pieces = self.node.cat(format!("/ipfs/{cid}")).await?;
                let over = (entry.size % BLOCK as u64) as usize;
                self.open = Some(OpenFile {
                    pieces,
                    left: entry.size,
                    padding: (BLOCK - over) % BLOCK,
                });
            }
            ContentKind::Directory => {
                if path.split('/').count() >= PATH_DEPTH_MAX {
                    return Err(IpfsError::Refused(format!("{path} is too deep")));
                }
                let entries = read::entries(&self.node, &format!("/ipfs/{cid}")).await?;
                let mut below: Vec<_> = entries
                    .map_ok(|(link, description)| {
                        let name = String::from_utf8_lossy(&link.name).into_owned();
                        let path = format!("{path}/{name}");
                        (path, ContentEntry::new(name, link.cid, description))
                    })
                    .try_collect()
                    .await?;
                if self.pending.len() + below.len() > DAG_PENDING_MAX {
                    return Err(IpfsError::Refused(format!("{path} has too many entries")));
                }
                below.sort_by(|(a, _), (b, _)| b.cmp(a));
                self.pending.extend(below);
            }
        }
        Ok(Some(head))
    }

    /// The next piece of a file; its size was told before, so it must be kept.
    fn file(&mut self, piece: Option<Bytes>, file: OpenFile) -> Result<Option<Bytes>, IpfsError> {
        let wrong = || IpfsError::Refused("a file is not as long as its root says".to_owned());
        match piece {
            Some(piece) => {
                let left = file.left.checked_sub(piece.len() as u64);
                let left = left.ok_or_else(wrong)?;
                self.open = Some(OpenFile { left, ..file });
                Ok(Some(piece))
            }
            None if file.left == 0 => {
                Ok(Some(Bytes::from_static(&[0; BLOCK]).slice(..file.padding)))
            }
            None => Err(wrong()),
        }
    }
}

/// What stands before the bytes of an entry.
fn head(path: &str, entry: &ContentEntry) -> io::Result<Bytes> {
    let mut header = Header::new_gnu();
    let (kind, mode) = match entry.kind {
        ContentKind::File => (EntryType::Regular, 0o644),
        ContentKind::Directory => (EntryType::Directory, 0o755),
        ContentKind::Symlink => (EntryType::Symlink, 0o777),
    };
    header.set_entry_type(kind);
    header.set_mode(entry.mode.unwrap_or(mode));
    header.set_mtime(entry.mtime.and_then(|s| u64::try_from(s).ok()).unwrap_or(0));
    header.set_size(entry.size);
    // It writes what long names need, too, and two blocks at the end that are not wanted yet.
    let mut builder = Builder::new(Vec::new());
    match &entry.target {
        Some(target) => builder.append_link(&mut header, path, target)?,
        None => builder.append_data(&mut header, path, io::empty())?,
    }
    let mut out = builder.into_inner()?;
    out.truncate(out.len().saturating_sub(2 * BLOCK));
    Ok(out.into())
}
