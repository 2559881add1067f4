//! `dag/get`, `dag/put`, `dag/stat` and `repo/verify` of the embedded node, in Kubo's shapes.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::HeaderMap;
use hyper::body::Incoming;
use ipfs_cluster_protocol::{
    api::{error::parse_cid, json, query::Query},
    content::{
        Block, DAG_CBOR, DAG_JSON, DAG_PB, RAW,
        hash::{self, HashFunction},
        ipld::{self, Ipld},
    },
    id::Cid,
    limits::{BLOCK_BYTES_MAX, DAG_SEEN_MAX, PATH_DEPTH_MAX},
};
use serde::Serialize;

use super::{
    reading::{arguments, bytes_of, lines_of, path},
    uploaded::{self, Uploaded, refused},
};
use crate::{
    api::http::reply::Reply,
    ipfs::{Checked, IpfsError, SharedIpfs, walk},
};

/// The codec of an option, by its name.
fn codec(query: &Query, option: &str, default: u64) -> Result<u64, IpfsError> {
    Ok(match query.get(option) {
        "" => default,
        "raw" => RAW,
        "dag-pb" => DAG_PB,
        "dag-cbor" => DAG_CBOR,
        "dag-json" => DAG_JSON,
        other => return Err(refused(format_args!("invalid value {other:?} of {option}"))),
    })
}

/// What a path leads to.
async fn value_at(node: &SharedIpfs, argument: &str) -> Result<Ipld, IpfsError> {
    let path = path(argument)?;
    let rest = ["/ipfs/", "/ipld/"]
        .iter()
        .find_map(|n| path.strip_prefix(n));
    let mut segments = rest
        .unwrap_or_default()
        .split('/')
        .filter(|s| !s.is_empty());
    let root = segments.next().unwrap_or_default();
    let mut cid: Cid = parse_cid(root).map_err(refused)?;
    let mut value = block_value(node, &cid).await?;
    for segment in segments.take(PATH_DEPTH_MAX) {
        let below = value.get(segment).or_else(|| by_name(&value, segment));
        let missing = || refused(format_args!("no link named {segment:?} under {cid}"));
        value = below.cloned().ok_or_else(missing)?;
        // A link stands for what is behind it.
        while let Ipld::Link(next) = value {
            cid = next;
            value = block_value(node, &cid).await?;
        }
    }
    Ok(value)
}

async fn block_value(node: &SharedIpfs, cid: &Cid) -> Result<Ipld, IpfsError> {
    let block = node.block_get(*cid).await?;
    ipld::decode(cid.0.codec(), &block).map_err(refused)
}

/// The link of a dag-pb node that has this name.
fn by_name<'a>(value: &'a Ipld, name: &str) -> Option<&'a Ipld> {
    let Ipld::List(links) = value.get("Links")? else {
        return None;
    };
    let named = |link: &&Ipld| matches!(link.get("Name"), Some(Ipld::Text(n)) if n == name);
    links.iter().find(named)?.get("Hash")
}

pub(super) async fn get(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let codec = codec(query, "output-codec", DAG_JSON)?;
    let value = value_at(node, query.get("arg")).await?;
    let bytes = ipld::encode(codec, &value).map_err(refused)?;
    let pieces = stream::iter([Ok(Bytes::from(bytes))]).boxed();
    Ok(bytes_of(pieces, "text/plain"))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    cid: Linked,
}

#[derive(Serialize)]
struct Linked {
    #[serde(rename = "/")]
    cid: Cid,
}

/// Each part of the upload is a node, read as `input-codec` and stored as `store-codec`.
pub(super) async fn put(
    node: &SharedIpfs,
    query: &Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Uploaded, IpfsError> {
    let input = codec(query, "input-codec", DAG_JSON)?;
    let store = codec(query, "store-codec", DAG_CBOR)?;
    let function = uploaded::hash_function(query, "hash")?;
    let mut lines = Vec::new();
    let mut blocks = Vec::new();
    for data in uploaded::parts(headers, body).await? {
        let block = encoded(&data, (input, store), function)?;
        let cid = Linked { cid: block.cid };
        lines.extend(json::to_line(&Put { cid }).map_err(refused)?);
        blocks.push((block.cid, block.data));
    }
    Uploaded::store(node, blocks, lines).await
}

fn encoded(
    data: &Bytes,
    (input, store): (u64, u64),
    function: HashFunction,
) -> Result<Block, IpfsError> {
    let value = ipld::decode(input, data).map_err(refused)?;
    let data = ipld::encode(store, &value).map_err(refused)?;
    if data.len() > BLOCK_BYTES_MAX {
        return Err(refused(format_args!(
            "the node takes {} bytes, a block has at most {BLOCK_BYTES_MAX}",
            data.len()
        )));
    }
    let len = function.digest(&data).digest().len();
    let cid = hash::name_like(1, store, function.code(), len, &data);
    let cid = cid.ok_or_else(|| refused("the node cannot be named"))?;
    let data = data.into();
    Ok(Block { cid, data })
}

/// How large DAGs are, alone and together.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stats {
    unique_blocks: u64,
    total_size: u64,
    shared_size: u64,
    ratio: f64,
    dag_stats: Vec<DagStat>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DagStat {
    /// A text here, as in Kubo.
    cid: Cid,
    size: u64,
    num_blocks: u64,
}

/// Walks every DAG that is named. Blocks of several are counted once in what they take together.
pub(super) async fn stat(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let mut seen = BTreeSet::new();
    let mut all = Stats {
        unique_blocks: 0,
        total_size: 0,
        shared_size: 0,
        ratio: 0.0,
        dag_stats: Vec::new(),
    };
    for argument in arguments(query)? {
        let root = node.resolve(path(argument)?).await?;
        let mut dag = DagStat {
            cid: root,
            size: 0,
            num_blocks: 0,
        };
        let mut blocks = walk::blocks(node, root, true);
        while let Some((cid, block)) = blocks.try_next().await? {
            let len = block.len() as u64;
            dag.size += len;
            dag.num_blocks += 1;
            if seen.len() >= DAG_SEEN_MAX {
                return Err(refused(format_args!(
                    "more than {DAG_SEEN_MAX} blocks: ask for fewer DAGs at a time"
                )));
            }
            if seen.insert(cid) {
                all.unique_blocks += 1;
                all.total_size += len;
            } else {
                all.shared_size += len;
            }
        }
        all.dag_stats.push(dag);
    }
    if all.dag_stats.is_empty() {
        return Err(refused("argument \"root\" is required"));
    }
    // What they would take apart from each other, over what they take.
    let apart: u64 = all.dag_stats.iter().map(|dag| dag.size).sum();
    if all.total_size > 0 {
        all.ratio = apart as f64 / all.total_size as f64;
    }
    Ok(lines_of(stream::iter([Ok(all)]).boxed()))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VerifyLine {
    msg: String,
    progress: u64,
}

/// How far `repo/verify` has come.
#[derive(Default)]
struct Verifying {
    whole: u64,
    corrupt: u64,
}

impl Verifying {
    fn line(&mut self, found: Checked) -> VerifyLine {
        match found {
            Checked::Whole(more) => {
                self.whole = self.whole.saturating_add(more);
                VerifyLine {
                    msg: String::new(),
                    progress: self.whole,
                }
            }
            Checked::Corrupt(cid) => {
                self.corrupt += 1;
                VerifyLine {
                    msg: format!("block {cid} was corrupt (it was moved aside)"),
                    progress: 0,
                }
            }
        }
    }

    fn end(&self) -> Result<VerifyLine, IpfsError> {
        match self.corrupt {
            0 => Ok(VerifyLine {
                msg: "verify complete, all blocks validated.".to_owned(),
                progress: 0,
            }),
            n => Err(refused(format_args!("verify complete, {n} blocks corrupt"))),
        }
    }
}

pub(super) async fn verify(node: &SharedIpfs) -> Result<Reply, IpfsError> {
    let found = node.repo_verify().await?;
    let state = Some((found, Verifying::default()));
    let lines = stream::unfold(state, |state| async move {
        let (mut found, mut so_far) = state?;
        match found.next().await {
            Some(Ok(checked)) => {
                let line = so_far.line(checked);
                Some((Ok(line), Some((found, so_far))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((so_far.end(), None)),
        }
    });
    Ok(lines_of(lines.boxed()))
}
