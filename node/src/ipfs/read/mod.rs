//! Reading files and folders through any IPFS node, block by block: what the node itself says of
//! them is not needed, and blocks that are not what they are called are refused.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use ipfs_cluster_protocol::{
    api::content::ContentEntry,
    content::{
        RAW,
        dag_pb::Link,
        list::{Description, EntryKind, Listing, describe},
        path::PathError,
        read::FileRead,
        unixfs::Attributes,
    },
    id::Cid,
};

use super::{IpfsError, IpfsNode, IpfsStream};

/// Roots of entries that are asked for at once.
const ENTRIES_AHEAD: usize = 16;

type Node = Arc<dyn IpfsNode>;

impl From<PathError> for IpfsError {
    fn from(error: PathError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What a path names.
pub(crate) async fn stat(node: &Node, path: &str) -> Result<ContentEntry, IpfsError> {
    let cid = node.resolve(path.to_owned()).await?;
    let description = describe(&cid, &node.block_get(cid).await?)?;
    let mut names = path.split('/').filter(|name| !name.is_empty());
    // The first names are `ipfs` and the CID.
    let name = names
        .nth(2)
        .and_then(|third| names.next_back().or(Some(third)));
    let name = name.unwrap_or_default().to_owned();
    Ok(ContentEntry::new(name, cid, description))
}

/// The links of a folder (or the parts of a file), in the order of its blocks. A folder that is none
/// is refused before the first.
pub(crate) async fn links(node: &Node, path: &str) -> Result<IpfsStream<Link>, IpfsError> {
    let root = node.resolve(path.to_owned()).await?;
    let mut listing = Listing::new(root);
    let first = page(node, &mut listing).await?;
    let rest = stream::unfold(Some((node.clone(), listing)), async |open| {
        let (node, mut listing) = open?;
        match page(&node, &mut listing).await {
            Ok(None) => None,
            Ok(Some(links)) => Some((Ok(links), Some((node, listing)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let pages = stream::iter(first.map(Ok)).chain(rest);
    let links = pages.flat_map(|page| match page {
        Ok(links) => stream::iter(links).map(Ok).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    });
    Ok(links.boxed())
}

/// The links in the next block, None at the end.
async fn page(node: &Node, listing: &mut Listing) -> Result<Option<Vec<Link>>, IpfsError> {
    let Some(wanted) = listing.wanted() else {
        return Ok(None);
    };
    let block = node.block_get(wanted).await?;
    Ok(Some(listing.supply(&block)?))
}

/// The entries of a folder and what they are. Raw leaves are files, which need not be read for that.
pub(crate) async fn entries(
    node: &Node,
    path: &str,
) -> Result<IpfsStream<(Link, Description)>, IpfsError> {
    let node = node.clone();
    let described = links(&node, path).await?.map(move |link| {
        let node = node.clone();
        async move {
            let link = link?;
            let description = match link.cid.0.codec() {
                RAW => Description {
                    kind: EntryKind::File,
                    size: link.dag_size,
                    attributes: Attributes::default(),
                },
                _ => describe(&link.cid, &node.block_get(link.cid).await?)?,
            };
            Ok((link, description))
        }
    });
    Ok(described.buffered(ENTRIES_AHEAD).boxed())
}

/// `length` bytes of a file from `offset` on, block by block.
pub(crate) async fn range(
    node: &Node,
    root: Cid,
    (offset, length): (u64, u64),
) -> Result<IpfsStream<Bytes>, IpfsError> {
    let mut file = FileRead::range(root, offset, length);
    // What is no file is refused before the first byte.
    let first = piece(node, &mut file).await?;
    let rest = stream::unfold(Some((node.clone(), file)), async |open| {
        let (node, mut file) = open?;
        match piece(&node, &mut file).await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some((node, file)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let filled = |piece: &Result<Bytes, IpfsError>| {
        std::future::ready(piece.as_ref().map_or(true, |p| !p.is_empty()))
    };
    Ok(stream::iter(first.map(Ok))
        .chain(rest)
        .filter(filled)
        .boxed())
}

async fn piece(node: &Node, file: &mut FileRead) -> Result<Option<Bytes>, IpfsError> {
    let Some(wanted) = file.wanted() else {
        return Ok(None);
    };
    let block = node.block_get(wanted).await?;
    let bytes = file.supply(block);
    Ok(Some(bytes.map_err(|e| IpfsError::Refused(e.to_string()))?))
}

#[cfg(test)]
mod tests;
