//! `dag/import`: the blocks of archives are stored as they are, their roots pinned, in Kubo's shapes.
//!
//! ```text
//! parts ─▶ CarReader ─▶ verify ─▶ batches ─▶ store ─▶ after the last archive: pin root by root
//! ```
//! Nothing is pinned before every archive was read to its end; a broken one leaves garbage at most.
//! Other than in Kubo, blocks that an archive lacks are fetched if somebody has them.

use futures::{StreamExt, stream};
use http::HeaderMap;
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use ipfs_cluster_protocol::{
    api::query::Query,
    content::{
        Block,
        car::{CarReader, Item},
        hash::verify,
    },
    id::Cid,
    limits,
    pin::PinMode,
};
use serde::Serialize;

use crate::{
    api::{
        http::reply::Reply,
        proxy::{reading::lines_of, uploaded::refused},
        rest::{add::Parts, batch::Batch, multipart::Event},
    },
    ipfs::{IpfsError, PinRequest, SharedIpfs, http::error_chain, upload::Upload},
};

/// A line of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
enum Line {
    #[serde(rename_all = "PascalCase")]
    Root { cid: Link, pin_error_msg: String },
    #[serde(rename_all = "PascalCase")]
    Stats {
        block_count: u64,
        block_bytes_count: u64,
    },
}

/// A CID as Kubo writes it here.
#[derive(Debug, Serialize)]
struct Link {
    #[serde(rename = "/")]
    cid: Cid,
}

/// Archives on their way in.
struct Import {
    upload: Upload,
    roots: Vec<Cid>,
    /// Blocks that wait to be stored.
    waiting: Batch,
    count: u64,
    bytes: u64,
    /// The last block of the archive that is being read.
    last: Option<Cid>,
}

pub(super) async fn import(
    node: &SharedIpfs,
    query: &Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, IpfsError> {
    let local = query.get("local-only") == "true";
    if local && query.get("pin-roots") == "true" {
        return Err(refused(
            "--local-only implies --pin-roots=false and cannot be combined with \
             --pin-roots=true; please drop one of them",
        ));
    }
    let pins = !local && query.get("pin-roots") != "false";
    let body = BodyDataStream::new(body).map(|chunk| chunk.map_err(|e| error_chain(&e)));
    let mut parts = Parts::open(headers, body.boxed()).map_err(refused)?;
    let mut import = Import::begin(node);
    if let Err(error) = import.read(&mut parts).await {
        parts.drain().await;
        return Err(error);
    }
    let Import {
        upload,
        roots,
        count,
        bytes,
        ..
    } = import;
    upload.complete();
    let node = node.clone();
    let roots = stream::iter(roots.into_iter().filter(move |_| pins));
    let pinned = roots.then(move |root| pin(node.clone(), root));
    let stats = (query.get("stats") == "true").then_some(Line::Stats {
        block_count: count,
        block_bytes_count: bytes,
    });
    let lines = pinned.chain(stream::iter(stats)).map(Ok);
    Ok(lines_of(lines.boxed()))
}

/// Pins a root; that it cannot be is said of it, and the others are pinned.
async fn pin(node: SharedIpfs, root: Cid) -> Line {
    let failed = match node.has_block(root).await {
        Ok(true) => {
            let request = PinRequest::new(root, PinMode::Recursive, "");
            node.pin(request, Box::new(|_| ())).await.err()
        }
        Ok(false) => Some(refused(format_args!("ipld: could not find {root}"))),
        Err(error) => Some(error),
    };
    Line::Root {
        cid: Link { cid: root },
        pin_error_msg: failed.map(|error| error.to_string()).unwrap_or_default(),
    }
}

impl Import {
    fn begin(node: &SharedIpfs) -> Self {
        Self {
            upload: Upload::begin(node),
            roots: Vec::new(),
            waiting: Batch::default(),
            count: 0,
            bytes: 0,
            last: None,
        }
    }

    /// Reads every part to its end and stores what it holds.
    async fn read(&mut self, parts: &mut Parts) -> Result<(), IpfsError> {
        let mut reader = CarReader::default();
        let mut any = false;
        loop {
            match parts.next().await.map_err(refused)? {
                Event::Part(_) => {
                    any = true;
                    self.last = None;
                }
                Event::Data(bytes) => {
                    reader.push(&bytes);
                    self.take(&mut reader).await?;
                }
                Event::PartEnd => {
                    let ended = std::mem::take(&mut reader).finish();
                    ended.map_err(|e| self.broken(e))?;
                }
                Event::End if any => {
                    let rest = self.waiting.take();
                    return self.store(rest).await;
                }
                Event::End => return Err(refused("file argument 'path' is required")),
            }
        }
    }

    async fn take(&mut self, reader: &mut CarReader) -> Result<(), IpfsError> {
        while let Some(item) = reader.take().map_err(|e| self.broken(e))? {
            match item {
                Item::Roots(roots) => self.rooted(roots)?,
                Item::Block(block) => self.block(block).await?,
            }
        }
        Ok(())
    }

    /// Roots of a further archive, each once.
    fn rooted(&mut self, roots: Vec<Cid>) -> Result<(), IpfsError> {
        for root in roots {
            if self.roots.contains(&root) {
                continue;
            }
            if self.roots.len() == limits::PINS_ARGUMENTS_MAX {
                return Err(refused(format_args!(
                    "more than {} roots: import fewer at a time, or with pin-roots=false",
                    limits::PINS_ARGUMENTS_MAX
                )));
            }
            self.roots.push(root);
        }
        Ok(())
    }

    async fn block(&mut self, block: Block) -> Result<(), IpfsError> {
        let cid = block.cid;
        verify(&cid, &block.data)
            .map_err(|e| refused(format_args!("import failed at block \"{cid}\": {e}")))?;
        self.count += 1;
        self.bytes += block.data.len() as u64;
        self.last = Some(cid);
        match self.waiting.push(block) {
            Some(blocks) => self.store(blocks).await,
            None => Ok(()),
        }
    }

    async fn store(&self, blocks: Vec<Block>) -> Result<(), IpfsError> {
        let blocks: Vec<_> = blocks.into_iter().map(|b| (b.cid, b.data)).collect();
        if blocks.is_empty() {
            return Ok(());
        }
        self.upload.put(blocks).await
    }

    /// An archive that ends or goes on as none may, with the place.
    fn broken(&self, error: impl std::fmt::Display) -> IpfsError {
        match self.last {
            Some(last) => refused(format_args!(
                "import failed after block \"{last}\": {error}"
            )),
            None => refused(format_args!("import failed: {error}")),
        }
    }
}
