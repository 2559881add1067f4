//! `swarm/connect`.

use http::StatusCode;
use ipfs_cluster_protocol::api::query::Query;
use serde::Serialize;

use crate::{
    api::{
        http::reply::Reply,
        proxy::{reading::arguments, reply::object, uploaded::refused},
    },
    ipfs::{IpfsError, SharedIpfs},
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Strings {
    strings: Vec<String>,
}

/// Connects to the peers named by their multiaddrs.
pub(super) async fn connect(node: &SharedIpfs, query: &Query) -> Result<Reply, IpfsError> {
    let mut strings = Vec::new();
    for address in arguments(query)? {
        node.swarm_connect(address.to_owned()).await?;
        let peer = address
            .rsplit_once("/p2p/")
            .map_or(address, |(_, peer)| peer);
        strings.push(format!("connect {peer} success"));
    }
    if strings.is_empty() {
        return Err(refused("argument \"address\" is required"));
    }
    Ok(object(StatusCode::OK, &Strings { strings }))
}
