//! The peers of the cluster: who they are, who comes, who leaves.

use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use ipfs_cluster_protocol::api::{error::parse_peer, id::PeerAdd, query::Query};

use super::{Rest, Segment, object, peer};
use crate::{
    api::{
        error::{bad_request, failed},
        http::{
            reply::{self, Reply},
            stream,
        },
    },
    cluster::ClusterError,
};

pub(crate) async fn list(rest: Rest) -> Reply {
    let peers = rest.backend.peers().map(Ok::<_, ClusterError>);
    stream::lines(peers.boxed(), failed).await
}

pub(crate) async fn add(rest: Rest, body: Bytes) -> Reply {
    let Ok(request) = serde_json::from_slice::<PeerAdd>(&body) else {
        return bad_request("error decoding request body");
    };
    match parse_peer(&request.peer_id) {
        Ok(peer) => object(rest.backend.peer_add(peer).await),
        Err(_) => bad_request("error decoding peer_id"),
    }
}

pub(crate) async fn remove(rest: Rest, segment: Segment, query: Query) -> Reply {
    let peer = match peer(&segment) {
        Ok(peer) => peer,
        Err(reply) => return *reply,
    };
    let drain = match query.bool("drain", true) {
        Ok(drain) => drain,
        Err(e) => return bad_request(e),
    };
    match rest.backend.peer_remove(peer, drain).await {
        Ok(()) => reply::empty(StatusCode::NO_CONTENT),
        Err(e) => failed(e),
    }
}
