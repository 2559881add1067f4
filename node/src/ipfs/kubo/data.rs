//! Blocks and files.

use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream};
use ipfs_cluster_protocol::{
    content::{
        self,
        hash::{HashFunction, VerifyError, inlined, verify},
        path::ContentPath,
    },
    id::Cid,
    limits::{BLOCK_BYTES_MAX, BLOCK_PUT_BLOCKS_MAX},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Kubo, call::Call};
use crate::ipfs::{IpfsError, IpfsStream, http::full};

/// Bytes of blocks from which on a `block/put` takes no further one.
const BATCH_BYTES: usize = 2 * BLOCK_BYTES_MAX;

#[derive(Deserialize)]
struct PutLine {
    #[serde(rename = "Key")]
    key: String,
}

#[derive(Deserialize)]
struct Resolved {
    #[serde(rename = "Path")]
    path: String,
}

/// How Kubo is to name a block. The node stores by multihash: version and codec do not matter there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    codec: &'static str,
    hash: HashFunction,
    digest_len: usize,
}

impl Kind {
    fn of(cid: &Cid) -> Result<Self, IpfsError> {
        let hash = cid.0.hash();
        let unknown = || {
            let code = hash.code();
            IpfsError::from(VerifyError::Unsupported { cid: *cid, code })
        };
        Ok(Self {
            codec: match cid.0.codec() {
                content::DAG_PB => "dag-pb",
                content::DAG_CBOR => "dag-cbor",
                content::DAG_JSON => "dag-json",
                _ => "raw",
            },
            hash: HashFunction::by_code(hash.code()).ok_or_else(unknown)?,
            digest_len: hash.digest().len(),
        })
    }

    fn call(self) -> Call {
        let call = Call::new("block/put")
            .with("cid-codec", self.codec)
            .with("mhtype", self.hash.name())
            .with("pin", false);
        let whole = self.hash.digest(b"").digest().len();
        if self.digest_len == whole {
            call
        } else {
            call.with("mhlen", self.digest_len)
        }
    }
}

impl Kubo {
    pub(super) async fn put_blocks(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), IpfsError> {
        let mut rest = blocks.as_slice();
        while let Some((cid, _)) = rest.first() {
            if inlined(cid).is_some() {
                rest = &rest[1..];
                continue;
            }
            let kind = Kind::of(cid)?;
            let one_by_one = self.one_block_a_put.load(Ordering::Relaxed);
            let n = if one_by_one { 1 } else { batch(kind, rest)? };
            let stored = match self.put_batch(kind, &rest[..n]).await {
                Err(IpfsError::Refused(_)) if n > 1 => self.put_batch(kind, &rest[..1]).await?,
                stored => stored?,
            };
            if stored < n {
                // js-ipfs takes one block a request, and at most 1 MiB.
                self.one_block_a_put.store(true, Ordering::Relaxed);
            }
            rest = &rest[stored..];
        }
        Ok(())
    }

    /// Sends blocks of one kind; says how many were stored, from the first.
    async fn put_batch(&self, kind: Kind, blocks: &[(Cid, Bytes)]) -> Result<usize, IpfsError> {
        let (boundary, body) = multipart(blocks);
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let time = self.timeouts.request;
        let deadline = Instant::now() + time;
        let sent = self
            .rpc
            .send(kind.call(), Some(content_type), full(body), time);
        let mut lines = sent.await?.lines();
        let mut stored = 0;
        while let Some(PutLine { key }) = lines.next(deadline).await? {
            let same = |cid: &Cid| key.parse::<Cid>().is_ok_and(|k| k.0.hash() == cid.0.hash());
            match blocks.get(stored) {
                Some((cid, _)) if same(cid) => stored += 1,
                Some((cid, _)) => {
                    let text = format!("the IPFS node stored block {cid} as {key}");
                    return Err(IpfsError::Refused(text));
                }
                None => return Err(IpfsError::Refused(format!("an unexpected block {key}"))),
            }
        }
        if stored == 0 {
            let text = "the IPFS node did not say that it stored the blocks";
            return Err(IpfsError::Refused(text.into()));
        }
        Ok(stored)
    }

    pub(super) async fn get_block(&self, cid: Cid) -> Result<Bytes, IpfsError> {
        if let Some(data) = inlined(&cid) {
            return Ok(Bytes::copy_from_slice(data));
        }
        let time = self.timeouts.request;
        let call = Call::new("block/get").with("arg", cid);
        let answer = self.rpc.start(call, time).await?;
        let block = answer.bytes(BLOCK_BYTES_MAX, time).await?;
        verify(&cid, &block)?;
        Ok(block)
    }

    pub(super) async fn resolve_path(&self, path: String) -> Result<Cid, IpfsError> {
        if let Ok(ContentPath { root, names }) = ContentPath::parse(&path)
            && names.is_empty()
        {
            return Ok(root);
        }
        let call = Call::new("resolve").with("arg", &path);
        let answer: Resolved = self.rpc.json(call, self.timeouts.request).await?;
        let found = ContentPath::parse(&answer.path);
        match found {
            Ok(ContentPath { root, names }) if names.is_empty() => Ok(root),
            Ok(_) | Err(_) => {
                let text = format!("{path} resolves to {}, which is no block", answer.path);
                Err(IpfsError::Refused(text))
            }
        }
    }

    pub(super) async fn read_file(&self, path: String) -> Result<IpfsStream<Bytes>, IpfsError> {
        let time = self.timeouts.request;
        let call = Call::new("cat").with("arg", path);
        let answer = self.rpc.start(call, time).await?;
        let pieces = stream::unfold(Some(answer), move |answer| async move {
            let mut answer = answer?;
            match answer.piece(Instant::now() + time).await {
                Ok(None) => None,
                Ok(Some(piece)) => Some((Ok(piece), Some(answer))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(pieces.boxed())
    }
}

/// How many blocks from the first, of its kind, go into one request.
fn batch(kind: Kind, blocks: &[(Cid, Bytes)]) -> Result<usize, IpfsError> {
    let (mut n, mut bytes) = (0, 0);
    for (cid, data) in blocks.iter().take(BLOCK_PUT_BLOCKS_MAX) {
        bytes += data.len();
        let same = inlined(cid).is_none() && Kind::of(cid)? == kind;
        if !same || (n > 0 && bytes > BATCH_BYTES) {
            break;
        }
        n += 1;
    }
    Ok(n)
}

/// A form with one part per block. Nobody can foresee the boundary, so no block contains it.
fn multipart(blocks: &[(Cid, Bytes)]) -> (String, Bytes) {
    let boundary = format!("{:032x}", rand::random::<u128>());
    let size = blocks.iter().map(|(_, d)| d.len() + 160).sum::<usize>();
    let mut body = BytesMut::with_capacity(size + 64);
    for (_, data) in blocks {
        body.put_slice(format!("--{boundary}\r\n").as_bytes());
        body.put_slice(b"Content-Disposition: form-data; name=\"data\"; filename=\"data\"\r\n");
        body.put_slice(b"Content-Type: application/octet-stream\r\n\r\n");
        body.put_slice(data);
        body.put_slice(b"\r\n");
    }
    body.put_slice(format!("--{boundary}--\r\n").as_bytes());
    (boundary, body.freeze())
}
