//! Files into the store and out of it.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use ipfs_cluster_protocol::{
    content::{
        Block, Root,
        import::FileImport,
        options::ImportOptions,
        path::{ContentPath, Lookup},
        read::FileRead,
    },
    id::Cid,
    limits::{FILE_AHEAD_MAX, IMPORT_BATCH_BYTES_MAX},
};
use tokio::time::timeout;

use super::{
    CALL_TIMEOUT, Embedded,
    bitswap::{FetchError, Session},
};
use crate::ipfs::{IpfsError, IpfsStream};

impl Embedded {
    /// Imports a file; its blocks are durable at return. Nothing is pinned.
    pub async fn add_file(
        &self,
        options: &ImportOptions,
        mut bytes: IpfsStream<Bytes>,
    ) -> Result<Root, IpfsError> {
        let refused = |e: &dyn std::fmt::Display| IpfsError::Refused(e.to_string());
        let mut import = FileImport::new(options).map_err(|e| refused(&e))?;
        let mut blocks = Vec::new();
        while let Some(piece) = bytes.next().await {
            import.write(piece?, &mut blocks);
            let waiting: usize = blocks.iter().map(|b: &Block| b.data.len()).sum();
            if waiting >= IMPORT_BATCH_BYTES_MAX {
                self.store_blocks(std::mem::take(&mut blocks)).await?;
            }
        }
        let root = import.finish(&mut blocks);
        self.store_blocks(blocks).await?;
        Ok(root)
    }

    async fn store_blocks(&self, blocks: Vec<Block>) -> Result<(), IpfsError> {
        let blocks: Vec<_> = blocks.into_iter().map(|b| (b.cid, b.data)).collect();
        self.put(blocks).await
    }

    pub(super) async fn resolve_path(&self, path: &str) -> Result<Cid, IpfsError> {
        let refused = |e| IpfsError::Refused(format!("{e}"));
        let ContentPath { root, names } = ContentPath::parse(path).map_err(refused)?;
        let session = self.bitswap.session();
        let mut at = root;
        for name in names {
            let mut lookup = Lookup::new(at, &name);
            at = loop {
                let block = within_time(session.get(&lookup.wanted())).await?;
                if let Some(found) = lookup.supply(&block).map_err(refused)? {
                    break found;
                }
            };
        }
        Ok(at)
    }

    /// The bytes of a file, fetched a little ahead of the reader.
    pub(super) async fn read_file(&self, path: &str) -> Result<IpfsStream<Bytes>, IpfsError> {
        let root = self.resolve_path(path).await?;
        let session = std::sync::Arc::new(self.bitswap.session());
        let mut reader = Reader {
            session,
            file: FileRead::new(root),
            ahead: VecDeque::new(),
            failed: false,
        };
        // A folder is refused before the first byte.
        let first = reader.piece().await?;
        let rest = stream::unfold(reader, async |mut reader| {
            let piece = reader.piece().await.transpose()?;
            Some((piece, reader))
        });
        let first = stream::iter(first.map(Ok));
        let filled = |piece: &Result<Bytes, IpfsError>| {
            std::future::ready(piece.as_ref().map_or(true, |p| !p.is_empty()))
        };
        Ok(first.chain(rest).filter(filled).boxed())
    }
}

async fn within_time(
    fetch: impl Future<Output = Result<Bytes, FetchError>>,
) -> Result<Bytes, IpfsError> {
    match timeout(CALL_TIMEOUT, fetch).await {
        Ok(block) => Ok(block?),
        Err(_) => Err(IpfsError::Stalled(CALL_TIMEOUT)),
    }
}

type Fetch = BoxFuture<'static, Result<Bytes, FetchError>>;

/// A file being read.
struct Reader {
    session: std::sync::Arc<Session>,
    file: FileRead,
    /// Blocks being fetched, in the order of the file, the wanted one first.
    ahead: VecDeque<(Cid, Fetch)>,
    failed: bool,
}

impl Reader {
    /// The bytes of the next block, possibly none; None at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, IpfsError> {
        let Some(wanted) = self.file.wanted().filter(|_| !self.failed) else {
            return Ok(None);
        };
        // After each inner node the order is known anew; what was fetched for nothing is dropped.
        while self.ahead.front().is_some_and(|(cid, _)| *cid != wanted) {
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() {
            self.ahead.push_back((wanted, self.fetch(wanted)));
        }
        let missing: Vec<_> = self
            .file
            .ahead(FILE_AHEAD_MAX)
            .skip(self.ahead.len() - 1)
            .collect();
        for cid in missing {
            self.ahead.push_back((cid, self.fetch(cid)));
        }
        let block = within_time(self.first()).await;
        let bytes = block.and_then(|block| {
            let read = self.file.supply(block);
            read.map_err(|e| IpfsError::Refused(e.to_string()))
        });
        self.failed = bytes.is_err();
        bytes.map(Some)
    }

    fn fetch(&self, cid: Cid) -> Fetch {
        let session = self.session.clone();
        async move { session.get(&cid).await }.boxed()
    }

    /// Waits for the first block while the others make progress.
    async fn first(&mut self) -> Result<Bytes, FetchError> {
        let Some((_, mut first)) = self.ahead.pop_front() else {
            return Err(FetchError::Closed);
        };
        let mut others = std::mem::take(&mut self.ahead);
        let mut ready: Vec<Option<Result<Bytes, FetchError>>> = vec![None; others.len()];
        let block = std::future::poll_fn(|cx| {
            for ((_, fetch), ready) in others.iter_mut().zip(&mut ready) {
                if ready.is_none()
                    && let std::task::Poll::Ready(block) = fetch.poll_unpin(cx)
                {
                    *ready = Some(block);
                }
            }
            first.poll_unpin(cx)
        })
        .await;
        for ((cid, fetch), ready) in others.into_iter().zip(ready) {
            let fetch = match ready {
                Some(block) => std::future::ready(block).boxed(),
                None => fetch,
            };
            self.ahead.push_back((cid, fetch));
        }
        block
    }
}
