//! `pin/verify`: which recursive pins are whole, in Kubo's shape.

use std::sync::Arc;

use futures::StreamExt;
use ipfs_cluster_protocol::{api::query::Query, id::Cid};
use serde::Serialize;

use crate::{
    api::{
        http::reply::Reply,
        proxy::{reading::lines_of, uploaded::refused},
    },
    ipfs::{
        IpfsError,
        embedded::{CheckedPin, Embedded},
    },
};

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Verified {
    cid: Cid,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ok: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bad_nodes: Vec<BadNode>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BadNode {
    cid: Cid,
    err: String,
}

impl Verified {
    fn new(checked: CheckedPin, explained: bool) -> Self {
        let ok = checked.bad.is_empty();
        let bad = checked.bad.into_iter().filter(|_| explained);
        Self {
            cid: checked.root,
            ok,
            bad_nodes: bad
                .map(|bad| BadNode {
                    cid: bad.cid,
                    err: bad.why,
                })
                .collect(),
        }
    }
}

/// Pins that lack something, and why unless `quiet`; with `verbose` the others too.
pub(super) fn verify(node: &Arc<Embedded>, query: &Query) -> Result<Reply, IpfsError> {
    let asked = |name| query.get(name) == "true";
    let (verbose, quiet) = (asked("verbose") || asked("v"), asked("quiet") || asked("q"));
    if verbose && quiet {
        return Err(refused(
            "the --verbose and --quiet options can not be used at the same time",
        ));
    }
    let lines = node.check_pins().filter_map(move |checked| async move {
        let line = checked.map(|pin| Verified::new(pin, !quiet));
        match line {
            Ok(line) if line.ok && !verbose => None,
            line => Some(line),
        }
    });
    Ok(lines_of(lines.boxed()))
}
