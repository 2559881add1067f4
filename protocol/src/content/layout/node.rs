//! The nodes of a file's tree, as blocks.

use bytes::Bytes;

use crate::content::{
    Block, DAG_PB, RAW, Root,
    dag_pb::{self, Link, Node},
    hash::inlined,
    options::ImportOptions,
    unixfs::{Attributes, Kind, UnixFs},
};

/// A leaf: plain bytes, or in an envelope of the given kind.
pub(super) fn leaf(
    options: &ImportOptions,
    kind: Kind,
    chunk: Bytes,
    attributes: Attributes,
    out: &mut Vec<Block>,
) -> Root {
    let file_size = chunk.len() as u64;
    if options.raw_leaves {
        return emit(options, RAW, chunk, (file_size, 0), out);
    }
    let mut fs = UnixFs::new(kind);
    fs.file_size = Some(file_size);
    fs.attributes = attributes;
    let data = (!chunk.is_empty()).then_some(&chunk[..]);
    let node = dag_pb::leaf(&fs, data).into();
    emit(options, DAG_PB, node, (file_size, 0), out)
}

/// A node over children.
pub(super) fn parent(
    options: &ImportOptions,
    children: &[Root],
    attributes: Attributes,
    out: &mut Vec<Block>,
) -> Root {
    let sum = |f: fn(&Root) -> u64| children.iter().map(f).fold(0, u64::saturating_add);
    let (file_size, below) = (sum(|c| c.file_size), sum(|c| c.dag_size));
    let mut fs = UnixFs::new(Kind::File);
    fs.file_size = Some(file_size);
    fs.block_sizes = children.iter().map(|c| c.file_size).collect();
    fs.attributes = attributes;
    let links = children.iter().map(|child| Link {
        cid: child.cid,
        name: vec![],
        dag_size: child.dag_size,
    });
    let node = Node {
        links: links.collect(),
        data: Some(fs.encode()),
    };
    let data = node.encode().into();
    emit(options, DAG_PB, data, (file_size, below), out)
}

/// Names a block and hands it out, unless its name carries it.
fn emit(
    options: &ImportOptions,
    codec: u64,
    data: Bytes,
    (file_size, below): (u64, u64),
    out: &mut Vec<Block>,
) -> Root {
    let cid = options.naming.name(codec, &data);
    let dag_size = below.saturating_add(data.len() as u64);
    if inlined(&cid).is_none() {
        out.push(Block { cid, data });
    }
    Root {
        cid,
        file_size,
        dag_size,
    }
}
