//! The way from the root of a request to what it asks for: through folders, and through the links of
//! CBOR and JSON nodes.

use http::StatusCode;
use ipfs_cluster_protocol::{
    content::{
        DAG_CBOR, DAG_JSON,
        ipld::{self, Ipld},
    },
    id::Cid,
};

use super::{Asked, Fault};
use crate::ipfs::{IpfsError, SharedIpfs};

/// The roots of all nodes on the way, the last of which is asked for: what a cache has to check.
pub(super) async fn roots(node: &SharedIpfs, asked: &Asked) -> Result<Vec<Cid>, Fault> {
    let mut at = asked.path.root;
    here(node, asked, at).await?;
    let mut roots = vec![at];
    // What was reached within a node.
    let mut within: Option<Ipld> = None;
    for name in &asked.path.names {
        let next = match (within.take(), at.0.codec()) {
            (Some(value), _) => below(&value, &at, name)?,
            (None, DAG_CBOR | DAG_JSON) => {
                let block = node.block_get(at).await?;
                let value = ipld::decode(at.0.codec(), &block);
                let value = value.map_err(|e| IpfsError::Refused(e.to_string()))?;
                below(&value, &at, name)?
            }
            (None, _) => Ipld::Link(node.resolve(format!("/ipfs/{at}/{name}")).await?),
        };
        match next {
            Ipld::Link(cid) => {
                at = cid;
                here(node, asked, at).await?;
                roots.push(at);
            }
            other => within = Some(other),
        }
    }
    match within {
        None => Ok(roots),
        Some(_) => Err(Fault::Answered(
            StatusCode::NOT_IMPLEMENTED,
            "the path ends within a node: only what links lead to is served".to_owned(),
        )),
    }
}

fn below(value: &Ipld, at: &Cid, name: &str) -> Result<Ipld, IpfsError> {
    let missing = || IpfsError::Refused(format!("no link named {name:?} under {at}"));
    value.get(name).cloned().ok_or_else(missing)
}

/// Refuses what would have to be fetched where the client wants only what is here.
async fn here(node: &SharedIpfs, asked: &Asked, cid: Cid) -> Result<(), Fault> {
    if !asked.cached_only || node.has_block(cid).await? {
        return Ok(());
    }
    Err(Fault::Answered(
        StatusCode::PRECONDITION_FAILED,
        format!("{cid} is not here, and only-if-cached keeps it from being fetched"),
    ))
}
